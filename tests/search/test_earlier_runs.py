"""Runs that version 0.1 made open, report and export."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from nas.architecture import Architecture
from nas.export import export_run, read_exported
from nas.report import rebuild, summarise
from nas.run import FORMAT, Run, read_run
from nas.run.events import (
    CalibrationTrained,
    CellScored,
    FinalistEpoch,
    FinalistTrained,
    MethodEvent,
    RunFinished,
    SupernetEpoch,
    SupernetReused,
    UnknownEvent,
    WinnerExported,
)
from nas.run.files import replacing
from nas.strict_yaml import read_yaml

from ..event_cases import note

RUNS = Path(__file__).resolve().parents[1] / "fixtures" / "runs-0.1"
NAMES = ("calibrated", "supernet", "blockwise", "reused")


def copy_of(name: str, to: Path) -> Path:
    return Path(shutil.copytree(RUNS / name, to / name))


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", NAMES)
def test_its_events_are_those_of_the_file(name: str) -> None:
    record, written = read_run(RUNS / name), lines(RUNS / name)
    assert len(record.events()) == len(written)
    assert not record.events(UnknownEvent)
    trials = [event["trial"] for event in written if event["event"] == "trial"]
    # Of each trial the architecture is of another format now, and has another digest; the rest is as it was.
    upgraded = [Architecture.from_dict(trial["architecture"]) for trial in trials]
    assert [trial.to_dict() for trial in record.trials()] == [
        {**trial, "architecture": architecture.to_dict(), "digest": architecture.digest}
        for trial, architecture in zip(trials, upgraded, strict=True)
    ]
    digests = {trial["digest"]: architecture.digest for trial, architecture in zip(trials, upgraded, strict=True)}
    for kind, tag in ((FinalistTrained, "finalist"), (WinnerExported, "winner"), (FinalistEpoch, "finalist_epoch")):
        assert [event.digest for event in record.events(kind)] == [
            digests[event["digest"]] for event in written if event["event"] == tag
        ]
    for event in (*record.events(CalibrationTrained), *record.events(FinalistTrained)):
        assert event.digest == Architecture.from_dict(event.architecture).digest
        assert event.architecture["format"] == 2
    [finished] = record.events(RunFinished)
    assert finished.seconds == written[-1]["seconds"]
    assert finished.time.isoformat(timespec="milliseconds") == written[-1]["time"]


def test_what_a_method_recorded_is_there() -> None:
    assert len(read_run(RUNS / "calibrated").events(CalibrationTrained)) == 4
    assert [point.epoch for point in read_run(RUNS / "supernet").events(SupernetEpoch)] == [1, 2]
    assert all(cell.distances for cell in read_run(RUNS / "blockwise").events(CellScored))
    [reused] = read_run(RUNS / "reused").events(SupernetReused)
    assert (reused.run, reused.step) == ("/data/runs/supernet", 70)


@pytest.mark.parametrize("name", NAMES)
def test_its_report_can_be_made(name: str, tmp_path: Path) -> None:
    run = copy_of(name, tmp_path)
    before = (run / "events.jsonl").read_bytes()
    made = {file.name for file in rebuild(run)}
    assert made == {"trials.csv", "study.journal", "pareto.png", "report.html"}
    summary = summarise(read_run(run))
    assert summary.finished
    assert summary.ranking is not None
    page = (run / "report.html").read_text()
    assert summary.winners
    assert all(f"winners/{winner.rank}<" in page for winner in summary.winners)
    assert (run / "events.jsonl").read_bytes() == before, "looking changes nothing"


def test_its_winner_can_be_exported(tmp_path: Path) -> None:
    run = copy_of("calibrated", tmp_path)
    found = export_run(run, formats=["config", "code", "weights"])
    [winner] = read_run(run).events(WinnerExported)
    assert nas.load_architecture(Path(found["path"]) / "architecture.yaml").digest == winner.digest
    assert (Path(found["path"]) / "model.py").is_file()


def test_its_winner_gives_what_its_own_code_gives() -> None:
    folder = RUNS / "calibrated" / "winners" / "1"
    product, network = read_exported(folder)
    assert product.architecture.to_yaml().startswith("format: 2\n")
    size, channels = product.trained_resolution, product.architecture.input.channels
    images = torch.rand((3, channels, size, size), generator=torch.Generator().manual_seed(0))
    code = (
        "import json, sys, torch, model\n"
        "network = model.load('weights.safetensors').eval()\n"
        "print(json.dumps(network(torch.tensor(json.load(sys.stdin))).tolist()))\n"
        "assert 'nas' not in sys.modules\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, input=json.dumps(images.tolist()), capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    with torch.no_grad():
        torch.testing.assert_close(network(images), torch.tensor(json.loads(said.stdout)), rtol=1e-5, atol=1e-6)


def test_resumed_at_its_end_it_gives_what_it_found(tmp_path: Path) -> None:
    run = copy_of("calibrated", tmp_path)
    result = nas.resume(run)
    [winner] = result.winners
    [recorded] = read_run(run).events(WinnerExported)
    assert (winner.digest, winner.score, winner.macs) == (recorded.digest, recorded.score, recorded.macs)
    [ranking] = (event for event in lines(RUNS / "calibrated") if event["event"] == "ranking")
    assert result.ranking == {key: value for key, value in ranking.items() if key not in ("event", "time")}


@pytest.mark.parametrize("name", NAMES)
def test_opened_for_writing_it_is_rewritten_once_and_the_old_record_stays(name: str, tmp_path: Path) -> None:
    run = copy_of(name, tmp_path)
    old = (run / "events.jsonl").read_bytes()
    (run / "events.jsonl").write_bytes(old + b'{"torn')
    events = read_run(run).events()
    with Run.open(run) as opened:
        assert opened.events() == events
        manifest = opened.manifest
        opened.append(note(text="after"))
    new = (run / "events.jsonl").read_bytes()
    assert (run / "events.jsonl.format-1").read_bytes() == old + b'{"torn'
    assert lines(run)[0]["format"] == FORMAT
    assert read_run(run).events()[:-1] == events
    assert len(read_run(run).events(MethodEvent)) == 1
    shown = read_yaml(run / "run.yaml")
    assert (shown.pop("format"), shown.pop("started")) == (FORMAT, lines(run)[0]["time"])
    assert shown == manifest
    Run.open(run).close()
    assert (run / "events.jsonl").read_bytes() == new
    assert (run / "events.jsonl.format-1").read_bytes() == old + b'{"torn'


def test_stopped_while_it_is_rewritten_it_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = copy_of("reused", tmp_path)
    old = (run / "events.jsonl").read_bytes()

    def stopped(path: Path, content: bytes) -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(content[:100])
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nas.run.record.atomic_write", stopped)
        with pytest.raises(KeyboardInterrupt):
            Run.open(run)
    assert (run / "events.jsonl").read_bytes() == old
    with Run.open(run) as opened:
        assert opened.events(SupernetReused)
    assert (run / "events.jsonl.format-1").read_bytes() == old
