"""What is cut from, and what is refused in, a record that was stopped or damaged."""

import json
import math
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.errors import RunError
from nas.run import Run, read_run
from nas.run.events import MethodEvent, PhaseInterrupted, RunStarted, SupernetEpoch, TrialScored

from ..event_cases import note
from .test_trial import trial


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A closed run with three events."""
    with Run.create(tmp_path / "run", {"space_digest": "abc"}) as run:
        run.append(note(text="one"))
        run.append(note(text="größer"))
    return run.path


def record(folder: Path) -> Path:
    return folder / "events.jsonl"


def texts(folder: Path) -> list[str]:
    return [event.data["text"] for event in read_run(folder).events(MethodEvent)]


def test_every_line_is_one_strict_json_object_and_the_first_has_the_format(folder: Path) -> None:
    lines = record(folder).read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == ["run_started", "method_event", "method_event"]
    assert next(iter(events[0].items())) == ("format", 2)
    assert all("time" in event for event in events)
    assert events[2]["data"] == {"text": "größer"}


@pytest.mark.parametrize(
    "torn",
    [
        b'{"time":"2025',
        b"{",
        b"\0\0\0\0\0\0",
        b'{"text":"gr\xc3',  # half of an UTF-8 sequence
        b'{"event":"note"}',  # whole, but its newline was not written
        b"not json at all",
        b"garbage with a newline\n",
        b"\0\0\0\n",
    ],
)
def test_a_torn_last_line_is_cut_off_and_the_run_goes_on(folder: Path, torn: bytes) -> None:
    whole = record(folder).read_bytes()
    record(folder).write_bytes(whole + torn)
    assert len(read_run(folder).events()) == 3, "reading alone passes over it"
    assert record(folder).read_bytes() == whole + torn, "and changes nothing"
    with Run.open(folder) as run:
        assert record(folder).read_bytes() == whole
        run.append(note(text="after"))
        assert len(run.events(MethodEvent)) == 3
    assert texts(folder) == ["one", "größer", "after"]


def test_the_record_may_be_torn_at_any_byte(folder: Path) -> None:
    whole = record(folder).read_bytes()
    first = whole.index(b"\n") + 1
    for size in range(first, len(whole)):
        record(folder).write_bytes(whole[:size])
        with Run.open(folder) as run:
            assert len(run.events()) == whole[:size].count(b"\n")
        assert record(folder).read_bytes() == whole[: whole[:size].rindex(b"\n") + 1]


@pytest.mark.parametrize("bad", [b"{torn", b"", b"[1, 2]", b'{"no":"event"}', b'{"event":"x","v":NaN}', b"\xff"])
def test_a_damaged_line_in_the_middle_is_refused_with_its_number(folder: Path, bad: bytes) -> None:
    lines = record(folder).read_bytes().split(b"\n")
    lines[1] = bad
    record(folder).write_bytes(b"\n".join(lines))
    before = record(folder).read_bytes()
    for look in (Run.open, read_run):
        with pytest.raises(RunError, match="line 2 of 3 is not a JSON event") as caught:
            look(folder)
        assert "\n" not in str(caught.value)
    assert record(folder).read_bytes() == before


def test_two_torn_lines_are_damage_and_not_cut(folder: Path) -> None:
    with record(folder).open("ab") as file:
        file.write(b"torn\ntorn again")
    with pytest.raises(RunError, match="line 4 of 4"):
        Run.open(folder)


@pytest.mark.parametrize("content", [b"", b"\n", b"{}\n", b'{"event":"trial"}\n', b'{"event":"run_started"}\n', b"x"])
def test_a_file_that_is_no_record_is_refused(folder: Path, content: bytes) -> None:
    record(folder).write_bytes(content)
    with pytest.raises(RunError, match=r"is not a run: events.jsonl does not start with"):
        Run.open(folder)


def test_a_later_format_is_refused(folder: Path) -> None:
    lines = record(folder).read_bytes().split(b"\n")
    lines[0] = lines[0].replace(b'"format":2', b'"format":3')
    # A later format may well look different further down, which is no damage.
    lines[1] = b"binary, perhaps"
    record(folder).write_bytes(b"\n".join(lines))
    with pytest.raises(RunError, match=r"has format 3; this version reads up to format 2. Upgrade hybrid-nas"):
        Run.open(folder)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_refused_with_its_place(folder: Path, number: float) -> None:
    before = record(folder).read_bytes()
    with Run.open(folder) as run:
        with pytest.raises(RunError, match=rf"event 'curve': accuracies\.largest is {number}, not a finite"):
            run.append(SupernetEpoch(epoch=1, accuracies={"smallest": 0.5, "largest": number}))
        with pytest.raises(RunError, match=rf"event 'method_event': data\.largest\.1 is {number}, not a finite"):
            run.append(note(smallest=0.5, largest=[0.1, number]))
        assert len(run.events()) == 3
    assert record(folder).read_bytes() == before


def test_an_append_that_the_disk_takes_half_of_leaves_no_trace(folder: Path) -> None:
    script = f"""
import resource
from nas.errors import RunError
from nas.run import Run
from nas.run.events import MethodEvent
with Run.open({str(folder)!r}) as run:
    size = (run.path / "events.jsonl").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
    try:
        run.append(MethodEvent(method="tests", name="note", data={{"text": "x" * 100}}))
    except RunError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert (run.path / "events.jsonl").stat().st_size == size
    run.append(MethodEvent(method="tests", name="note", data={{"text": "fits"}}))
"""
    assert resource.RLIMIT_FSIZE
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert f"Cannot write {record(folder)}: file too large." in done.stdout
    assert texts(folder) == ["one", "größer", "fits"]


def test_a_full_disk_gives_one_line_with_path_and_remedy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Run.open(folder) as run:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", _full)
            with pytest.raises(RunError, match=r"no space left on device. Free some space") as caught:
                run.append(note(text="lost"))
        assert str(record(folder)) in str(caught.value)
        run.append(note(text="kept"))
    assert texts(folder) == ["one", "größer", "kept"]


def test_an_interrupt_within_an_append_leaves_a_whole_record(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with Run.open(folder) as run:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda handle, data: _interrupted(handle, data, write))
            with pytest.raises(KeyboardInterrupt):
                run.append(note(text="lost"))
        run.append(PhaseInterrupted(phase="search"))
    assert [type(event) for event in read_run(folder).events()][-2:] == [MethodEvent, PhaseInterrupted]


def _full(handle: int, data: bytes) -> int:
    raise OSError(28, "No space left on device")


def _interrupted(handle: int, data: memoryview, write: Callable[[int, bytes | memoryview], int]) -> int:
    write(handle, data[:5])
    raise KeyboardInterrupt


def test_trials_are_read_when_they_are_asked_for(folder: Path) -> None:
    with Run.open(folder) as run:
        for number in range(3):
            run.append(TrialScored(trial=trial(number).to_dict()))
            run.append(note(text=f"after {number}"))
    found = read_run(folder)
    kinds = [type(event) for event in found.events()]
    assert kinds == [RunStarted, MethodEvent, MethodEvent, *[TrialScored, MethodEvent] * 3]
    assert found.but_trials() == [event for event in found.events() if not isinstance(event, TrialScored)]
    assert found.trials() == [trial(number) for number in range(3)]
    assert found.latest() == found.events()[-1]
    with Run.open(folder) as run:
        run.append(TrialScored(trial=trial(3).to_dict()))
        assert run.latest() == run.events(TrialScored)[3]
        assert [one.number for one in run.trials()] == [0, 1, 2, 3]


@pytest.mark.parametrize("bad", ['"trial":{"number":1,', '"trial":{"number":1}}}', '"trial":[]}', '"trial":{"a":NaN}}'])
def test_a_damaged_trial_in_the_middle_is_refused(folder: Path, bad: str) -> None:
    with Run.open(folder) as run:
        run.append(TrialScored(trial=trial(0).to_dict()))
        run.append(note(text="after"))
    lines = record(folder).read_text().splitlines(keepends=True)
    lines[3] = lines[3].partition('"trial":{')[0] + bad + "\n"
    record(folder).write_text("".join(lines))
    with pytest.raises(RunError, match=r"is damaged: (line 4 of 5|in line 4)"):
        read_run(folder)


def test_a_trial_that_is_nested_too_deep_is_refused_when_it_is_read(folder: Path) -> None:
    with Run.open(folder) as run:
        run.append(TrialScored(trial=trial(0).to_dict()))
    deep = '{"a":' * 500 + "1" + "}" * 500
    text = record(folder).read_text()
    record(folder).write_text(text.replace('"trial":{', f'"trial":{{"deep":{deep},'))
    with pytest.raises(RunError, match=r"is damaged: in the trial at byte [0-9,]+, it is nested deeper"):
        read_run(folder).trials()
