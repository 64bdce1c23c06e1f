import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nas.errors import RunError
from nas.run import Run, read_run
from nas.run.events import MethodEvent, RunStarted, SupernetEpoch, TrialScored, WinnerExported
from nas.strict_yaml import read_yaml

from ..event_cases import note
from .test_trial import trial

MANIFEST: dict[str, Any] = {
    "options": {"space": "coatnet", "seed": 3, "budgets": ["4.2GFLOPs"], "out": None},
    "plan": {"epochs": 30},
    "versions": {"torch": "2.13.0"},
    "space_digest": "0123456789abcdef",
    "budgets": ["4.2GFLOPs"],
}


def test_a_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    with Run.create(tmp_path / "a" / "b", MANIFEST) as run:
        run.append(TrialScored(trial=trial(0).to_dict()))
        run.append(SupernetEpoch(epoch=1, loss=0.5))
        run.append(TrialScored(trial=trial(1, None, error="boom").to_dict()))
        held = (run.events(), run.trials(), run.manifest)
    with Run.open(tmp_path / "a" / "b") as again:
        assert (again.events(), again.trials(), again.manifest) == held
        again.append(TrialScored(trial=trial(2).to_dict()))
        assert [one.number for one in again.trials()] == [0, 1, 2]
    seen = read_run(tmp_path / "a" / "b")
    assert seen.trials() == [trial(0), trial(1, None, error="boom"), trial(2)]
    assert [type(event) for event in seen.events(SupernetEpoch)] == [SupernetEpoch]
    last = seen.last(TrialScored)
    assert last is not None
    assert last.trial["number"] == 2
    assert seen.last(WinnerExported) is None


def test_events_are_the_same_in_the_run_that_wrote_them_as_when_read_back(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", {}) as run:
        run.append(note(pair=(1, 2), by_number={1: "a"}))
        assert run.events() == read_run(tmp_path / "run").events()


def test_events_of_a_kind_are_found_among_all_in_their_order(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", {}) as run:
        for epoch in (1, 2, 3):
            run.append(SupernetEpoch(epoch=epoch))
            run.append(note(epoch=epoch))
        for record in (run, read_run(run.path)):
            assert [type(event) for event in record.events()] == [RunStarted, *[SupernetEpoch, MethodEvent] * 3]
            assert [point.epoch for point in record.events(SupernetEpoch)] == [1, 2, 3]
            assert [event.data["epoch"] for event in record.events(MethodEvent)] == [1, 2, 3]
            assert record.last(SupernetEpoch) == record.events()[5]
            assert record.events(WinnerExported) == []


def test_an_event_has_the_time_of_its_recording(tmp_path: Path) -> None:
    early = datetime(2020, 1, 1, tzinfo=UTC)
    with Run.create(tmp_path / "run", {}) as run:
        run.append(SupernetEpoch(time=early, epoch=1))
        times = [event.time for event in run.events()]
    assert early < times[0] <= times[1] <= datetime.now(UTC)


def test_a_method_from_outside_records_what_it_likes(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", {}) as run:
        run.append(MethodEvent(method="mine", name="guessed", data={"digest": "ab", "score": [0.5, None]}))
    [event] = read_run(run.path).events(MethodEvent)
    assert (event.method, event.name, event.data) == ("mine", "guessed", {"digest": "ab", "score": [0.5, None]})


def test_an_event_that_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    nested: Any = 1
    for _ in range(200):
        nested = [nested]
    with Run.create(tmp_path / "run", {}) as run:
        before = (run.path / "events.jsonl").read_bytes()
        with pytest.raises(RunError, match="Cannot record event 'curve': epoch must be a whole number, not '-1'"):
            run.append(SupernetEpoch(epoch=-1))
        with pytest.raises(RunError, match="Cannot record event 'method_event': it is nested deeper than 100"):
            run.append(note(nested=nested))
        assert (run.path / "events.jsonl").read_bytes() == before
        assert len(run.events()) == 1


def test_run_yaml_shows_the_manifest_with_versions(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", MANIFEST) as run:
        shown = read_yaml(run.path / "run.yaml")
        assert shown.pop("format") == 2
        assert datetime.fromisoformat(shown.pop("started")) == run.events()[0].time
        assert shown == run.manifest
        assert shown["options"] == MANIFEST["options"]
        assert shown["versions"]["torch"] == "2.13.0"
        assert shown["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))


def test_run_yaml_is_not_read_back_and_made_anew_where_it_is_missing(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", MANIFEST) as run:
        text = (run.path / "run.yaml").read_text()
        manifest = run.manifest
    (run.path / "run.yaml").unlink()
    with Run.open(run.path) as again:
        assert again.manifest == manifest
    assert (run.path / "run.yaml").read_text() == text


def test_create_refuses_a_folder_that_holds_a_run(tmp_path: Path) -> None:
    Run.create(tmp_path, MANIFEST).close()
    with pytest.raises(RunError, match=rf"already holds a run. Continue it with --resume {tmp_path}, or choose"):
        Run.create(tmp_path, MANIFEST)


def test_create_refuses_a_folder_with_other_files_and_leaves_it_alone(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / name).touch()
    with pytest.raises(RunError, match=r"already holds other files \(a, b, c, …\). Choose another --out"):
        Run.create(tmp_path, MANIFEST)
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c", "d"]


def test_create_takes_a_folder_where_a_run_was_killed_before_it_began(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("123 host\n")
    (tmp_path / ".events.123.tmp.jsonl").write_text('{"form')
    with Run.create(tmp_path, MANIFEST) as run:
        assert len(run.events()) == 1


def test_a_folder_where_a_run_was_killed_before_it_began_says_that_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".events.123.tmp.jsonl").write_text('{"form')
    with pytest.raises(RunError, match=r"holds no run yet: .* Start it again with the same command\."):
        Run.open(tmp_path)


@pytest.mark.parametrize("where", ["file", "file/run"])
def test_create_refuses_a_path_that_is_or_goes_through_a_file(where: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"is a file.*choose another --out|is a file.*Choose another --out"):
        Run.create(tmp_path / where, MANIFEST)


def test_a_folder_that_is_no_run_is_refused_with_the_run_that_may_be_meant(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"There is no run at .*gone. Give a folder that nas-search wrote"):
        Run.open(tmp_path / "gone")
    with pytest.raises(RunError, match="There is no run at s3://bucket/run. Only nas-search, nas report"):
        read_run(Path("s3://bucket/run"))
    with pytest.raises(RunError, match=r"is not a run: it has no events.jsonl. Give a folder"):
        read_run(tmp_path)
    Run.create(tmp_path / "run", MANIFEST).close()
    with pytest.raises(RunError, match=rf"Did you mean {tmp_path}/run\?"):
        Run.open(tmp_path)
    with pytest.raises(RunError, match=rf"is a file, and a run is a folder. Did you mean {tmp_path}/run\?"):
        Run.open(tmp_path / "run" / "run.yaml")


def test_a_run_goes_on_only_with_the_space_it_was_made_for(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", MANIFEST) as run:
        run.check_space("0123456789abcdef")
        with pytest.raises(RunError, match="made for the search space 0123456789abcdef, not fedcba"):
            run.check_space("fedcba")


def test_nothing_is_recorded_after_closing(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", MANIFEST)
    run.close()
    run.close()
    with pytest.raises(RunError, match="it is closed"):
        run.append(note())


def test_a_run_is_not_opened_twice_by_one_process(tmp_path: Path) -> None:
    with Run.create(tmp_path, MANIFEST) as run:
        with pytest.raises(RunError, match="is open in this process already"):
            Run.open(tmp_path)
        # Opening and closing the lock file, as a copy of the folder does, must not let go of it.
        (tmp_path / ".lock").read_text()
        with pytest.raises(RunError, match="is open in this process already"):
            Run.open(tmp_path)
        assert len(read_run(tmp_path).events()) == len(run.events())
    Run.open(tmp_path).close()


HOLD = """
import sys
from nas.run import Run
from nas.run.events import MethodEvent
run = Run.open(sys.argv[1])
print("open", flush=True)
number = 0
for line in sys.stdin:
    run.append(MethodEvent(method="tests", name="note", data={"number": number}))
    number += 1
    print(number, flush=True)
"""


def hold(folder: Path, script: str = HOLD) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_a_run_that_another_process_has_open_is_refused_with_its_pid(tmp_path: Path) -> None:
    Run.create(tmp_path, MANIFEST).close()
    with hold(tmp_path) as other:
        for use in (lambda: Run.open(tmp_path), lambda: Run.create(tmp_path, MANIFEST)):
            with pytest.raises(RunError, match=rf"pid {other.pid}\)|already holds a run"):
                use()
        assert len(read_run(tmp_path).events()) == 1, "looking is always allowed"
        other.communicate("")
    Run.open(tmp_path).close()


def test_what_was_appended_outlives_a_kill(tmp_path: Path) -> None:
    Run.create(tmp_path, MANIFEST).close()
    with hold(tmp_path) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write("go\n" * 50)
        other.stdin.flush()
        told = [int(other.stdout.readline()) for _ in range(20)]
        os.kill(other.pid, signal.SIGKILL)
        other.stdin.close()
    with Run.open(tmp_path) as run:
        numbers = [event.data["number"] for event in run.events(MethodEvent)]
    assert len(numbers) >= told[-1] == 20
    assert numbers == list(range(len(numbers)))


FORK = """
import os, sys
from nas.run import Run
from nas.run.events import MethodEvent
run = Run.open(sys.argv[1])
read_end, write_end = os.pipe()
ready, forked = os.pipe()
child = os.fork()
if child == 0:
    os.write(forked, b"1")
    os.close(write_end)
    os.read(read_end, 1)  # outlives its parent
    os._exit(0)
os.read(ready, 1)  # until then the child has not dropped its copy of the lock
run.append(MethodEvent(method="tests", name="note"))
print("open", flush=True)
sys.stdin.readline()
print(child, flush=True)
sys.stdin.readline()
"""


def test_a_forked_child_does_not_keep_the_run_of_its_killed_parent(tmp_path: Path) -> None:
    Run.create(tmp_path, MANIFEST).close()
    with hold(tmp_path, FORK) as other:
        with pytest.raises(RunError, match=f"pid {other.pid}"):
            Run.open(tmp_path)
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        with Run.open(tmp_path) as run:
            assert len(run.events(MethodEvent)) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_can_be_read_but_not_resumed(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", MANIFEST).close()
    (tmp_path / "run" / ".lock").unlink()
    (tmp_path / "run").chmod(0o500)
    try:
        assert len(read_run(tmp_path / "run").events()) == 1
        with pytest.raises(RunError, match="permission denied"):
            Run.open(tmp_path / "run")
    finally:
        (tmp_path / "run").chmod(0o700)


def test_a_disk_that_cannot_be_written_gives_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(30, "Read-only file system")

    Run.create(tmp_path / "run", MANIFEST).close()
    monkeypatch.setattr(os, "open", refuse)
    for use in (lambda: Run.open(tmp_path / "run"), lambda: Run.create(tmp_path / "new", MANIFEST)):
        with pytest.raises(RunError, match=r"read-only file system. Choose an --out") as caught:
            use()
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_odd_text_is_kept(tmp_path: Path) -> None:
    text = 'Ünïcödé "quotes"\n\t\x00 \u2028 \udcff \U0001f600'
    with Run.create(tmp_path, {"options": {"data": text}}) as run:
        run.append(note(text=text))
    again = read_run(tmp_path)
    assert again.manifest["options"]["data"] == again.events(MethodEvent)[0].data["text"] == text
    assert len((tmp_path / "events.jsonl").read_bytes().splitlines()) == 2
    json.loads((tmp_path / "events.jsonl").read_text().splitlines()[0])


def test_the_run_package_needs_nothing_heavy() -> None:
    script = "import sys, nas.run, nas.trial; print(sorted({'torch', 'numpy', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
