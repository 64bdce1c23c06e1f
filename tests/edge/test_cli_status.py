"""`nas status` and `nas runs`: what a person reads of a run, and its JSON."""

from __future__ import annotations

import json
import os
import re
from datetime import timedelta
from pathlib import Path

import pytest

from nas.cli.main import main
from nas.cli.status import status_lines
from nas.report.status import run_status
from nas.run import Run, planning, read_run
from nas.run.events import PhaseStarted
from tests.search.report_events import make_run

PLAN = {"seconds": {"supernet": 270.0, "search": 108.0, "finalists": 366.0, "export": 20.0}}


def test_a_running_search_is_shown_with_its_progress(tmp_path: Path) -> None:
    path = make_run(tmp_path / "a", until="search", plan=PLAN)
    record = read_run(path)
    at = record.last(PhaseStarted).time + timedelta(seconds=20)  # type: ignore[union-attr]
    with Run.open(path):
        lines = status_lines(run_status(path, at=at), at=record.events()[-1].time + timedelta(seconds=20))
    assert lines[0] == f"{path}: running (pid {os.getpid()})"
    assert lines[1:3] == [
        "phase      search (2 of 4)",
        "progress   40/120 networks (33 %), 2 networks/s, 20 s so far, about 39 s left",
    ]
    assert re.fullmatch(r"whole run  \d+ s so far, about 7 min 05 s left", lines[3])
    assert lines[4] == "trials     40, 3 failed"
    assert lines[5].startswith("best       score 0.9")
    assert re.fullmatch(r"front      0\.9\d{3} at \d\.\d\d MMACs \([CA]{4}\)", lines[6])
    assert lines[-3:] == ["last event 20 s ago", "", f"See what is there so far:  nas report {path}"]
    assert all(len(line) <= 78 for line in lines[1:-1])


def test_a_search_that_is_planned_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with planning(tmp_path / "a"):
        assert main(["status", str(tmp_path / "a")]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert main(["status", str(tmp_path / "a"), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert main(["report", str(tmp_path / "a")]) == 2
    assert re.fullmatch(rf"{tmp_path / 'a'}: planning \(pid {os.getpid()}\), for [\d.]+ s", lines[0])
    assert lines[-1].endswith(f"nas status {tmp_path / 'a'}")
    assert all(len(line) <= 78 for line in lines[1:-1])
    assert (found["state"], found["process"]["pid"], found["trials"]) == ("planning", os.getpid(), 0)
    assert "it is being planned" in capsys.readouterr().err


def test_status_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_run(tmp_path / "a", until="finalists", plan={**PLAN, "finalist_epochs": 20})
    assert main(["status", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["process"], found["trials"], found["failed"]) == ("stopped", None, 120, 3)
    phase = found["phase"]
    assert (phase["name"], phase["number"], phase["of"], phase["done"], phase["total"]) == ("finalists", 3, 4, 70, 120)
    assert (found["best"]["figure"], found["best"]["value"]) == ("test accuracy", 0.951)
    assert found["next"]["command"] == f"nas-search --resume {path}"
    assert found["seconds_left"] > 5


def test_a_finished_run_says_what_to_do_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_run(tmp_path / "a run", plan=PLAN)
    assert main(["status", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"{path}: finished", "whole run  took 20 min 34 s"]
    assert lines[-1] == f"Try the best network:  python '{path}/winners/1/model.py'"


def test_runs_are_a_table_and_damaged_ones_say_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "a", plan=PLAN)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "events.jsonl").write_text("{}\nno\n")
    assert main(["runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "state", "size", "trials", "best", "started"]
    assert lines[1].split()[:2] == [str(tmp_path / "a"), "finished"]
    assert "test accuracy 0.9510" in lines[1]
    assert lines[2].split()[:2] == [str(tmp_path / "b"), "damaged"]
    assert lines[4].startswith(f"{tmp_path / 'b'} is not a run")
    assert main(["runs", str(tmp_path), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["state"], first["trials"], first["error"]) == ("finished", 120, None)
    assert (second["state"], "trials" in second) == ("damaged", False)
    assert first["bytes"] > 0


def test_no_runs_are_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"No runs in {tmp_path}.\n"


@pytest.mark.parametrize("command", ["status", "runs"])
def test_what_is_not_there_is_refused_in_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "nowhere"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "nowhere" in err
