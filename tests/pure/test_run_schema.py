"""What is read back of events has the types that its readers rely on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from nas.errors import RunError
from nas.run import Run, lock_holder, planning, read_run
from nas.run.events import SupernetEpoch, TrialScored, UnknownEvent
from nas.run.schema import EventError, check_fields, decode_event

TIME = "2030-01-31T12:00:00.000+00:00"


@pytest.mark.parametrize(
    ("event", "fault"),
    [
        ({"event": "note"}, "it has no 'time'"),
        ({"event": "note", "time": "yesterday"}, "time must be a time"),
        ({"event": "note", "time": "2030-01-31T12:00:00"}, "time must be a time"),
        ({"event": "phase_started", "phase": "x"}, "it has no 'time'"),
        ({"event": "phase_started", "time": "\udcff", "phase": "x"}, "time must be a time"),
        ({"event": "phase_started", "time": TIME}, "it has no 'phase'"),
        ({"event": "phase_started", "time": TIME, "phase": 5}, "phase must be a text, not '5'"),
        ({"event": "winner", "time": TIME, "rank": 1.5, "digest": "a", "path": "b"}, "rank must be a whole number"),
        ({"event": "winner", "time": TIME, "rank": 10**30, "digest": "a", "path": "b"}, "rank must be a whole number"),
        ({"event": "finalist", "time": TIME, "digest": "a", "number": 0}, "it has no 'validation_accuracy'"),
        ({"event": "calibration_failed", "time": TIME, "error": "nan"}, "it has no 'digest'"),
        ({"event": "phase_finished", "time": TIME, "phase": "x", "seconds": "5"}, "seconds must be a number"),
        ({"event": "phase_finished", "time": TIME, "phase": "x", "seconds": 10**400}, "seconds must be a number"),
        ({"event": "trial", "time": TIME, "trial": []}, "trial must be a mapping"),
        ({"event": "curve", "time": TIME, "epoch": 1, "accuracies": {"largest": "x"}}, "accuracies must be numbers"),
        ({"event": "run_started", "time": TIME, "budgets": [5]}, "budgets must be texts"),
        ({"event": "measured", "time": TIME, "digest": "a", "proxies": [None]}, "proxies must be numbers or texts"),
        ({"event": "curve", "time": TIME, "epoch": 1, "loss": float("inf")}, "loss must be a number"),
        ({"event": "curve", "time": TIME, "epoch": True}, "epoch must be a whole number, not 'True'"),
        ({"event": "run_started", "time": TIME, "options": None}, "options must be a mapping"),
    ],
    ids=str,
)
def test_events_of_other_types_are_refused(event: dict[str, Any], fault: str) -> None:
    with pytest.raises(EventError) as caught:
        decode_event(event)
    assert fault in str(caught.value)


def test_events_and_fields_of_a_later_version_pass() -> None:
    found = decode_event({"event": "dreamt", "time": TIME, "of": {"sheep": [1, None]}})
    assert isinstance(found, UnknownEvent)
    assert (found.tag, found.fields) == ("dreamt", {"of": {"sheep": [1, None]}})
    assert decode_event({"event": "curve", "time": TIME, "epoch": 1, "\udcff": 5}) == decode_event(
        {"event": "curve", "time": TIME, "epoch": 1}
    )


def test_statistics_of_a_ranking_are_no_figures() -> None:
    assert decode_event({"event": "ranking", "time": TIME, "n": 2, "score": {"spearman": 1.0}, "macs": None})


def test_nesting_without_end_is_refused() -> None:
    nested: Any = 1
    for _ in range(500):
        nested = [nested]
    with pytest.raises(EventError, match="nested deeper"):
        decode_event({"event": "note", "time": TIME, "x": nested})


def test_a_damaged_event_is_refused_with_its_line(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", {}) as run:
        run.append(SupernetEpoch(epoch=1))
    path = tmp_path / "run" / "events.jsonl"
    path.write_text(path.read_text().replace('"epoch":1', '"epoch":"one"'))
    with pytest.raises(RunError, match=r"in line 2 \(curve\), epoch must be a whole number, not 'one'. Restore it"):
        read_run(tmp_path / "run")


def test_a_trial_that_cannot_be_read_names_the_run(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", {}) as run:
        run.append(TrialScored(trial={"number": 3}))
    with pytest.raises(RunError, match=r"/run: A trial lacks 'architecture'. Restore events.jsonl from a copy."):
        read_run(tmp_path / "run").trials()


@dataclass(frozen=True, kw_only=True)
class Facts:
    count: int
    share: float
    name: str
    names: tuple[str, ...]
    seconds: dict[str, float]
    kind: Literal["a", "b"]


FACTS: dict[str, Any] = {"count": 1, "share": 1, "name": "x", "names": ["y"], "seconds": {"z": 1.5}, "kind": "a"}


def test_fields_of_the_right_types_pass() -> None:
    check_fields(Facts, json.loads(json.dumps(FACTS)), Path("run"), least=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", 0),
        ("count", True),
        ("count", 1.0),
        ("share", "1"),
        ("share", float("nan")),
        ("name", None),
        ("names", "y"),
        ("names", [5]),
        ("seconds", {"z": "1"}),
        ("kind", "c"),
    ],
)
def test_fields_of_other_types_are_refused(name: str, value: Any) -> None:
    with pytest.raises(RunError, match=rf"run is damaged: its {name} is .* Restore events.jsonl from a copy."):
        check_fields(Facts, {**FACTS, name: value}, Path("run"), least=1)


def test_a_folder_is_refused_before_any_work_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    names = {"file": "is a file", "file/run": "not a directory", "loop/run": "circle", "x" * 300: "a shorter --out"}
    for name, why in names.items():
        with pytest.raises(RunError, match=why), planning(tmp_path / name):
            pytest.fail("this would be the work")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop"]


def test_a_folder_is_held_while_a_run_is_planned_and_free_of_traces_if_that_fails(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"

    def stopped() -> None:
        with planning(folder):
            assert lock_holder(folder) is not None
            with pytest.raises(RunError, match="holds no run yet: it is being planned"):
                read_run(folder)
            with pytest.raises(RunError, match="is open in this process already"), planning(folder):
                pytest.fail("two at once")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(tmp_path.iterdir()) == []
    folder.mkdir(parents=True)
    with pytest.raises(RunError, match="no disk"), planning(folder):
        raise RunError("no disk")
    assert list(folder.iterdir()) == []


def test_a_planned_run_keeps_the_lock(tmp_path: Path) -> None:
    with planning(tmp_path / "run") as lock:
        run = Run.create(tmp_path / "run", {}, lock=lock)
    assert lock_holder(tmp_path / "run") is not None
    run.close()
    assert lock_holder(tmp_path / "run") is None
    assert len(read_run(tmp_path / "run").events()) == 1
