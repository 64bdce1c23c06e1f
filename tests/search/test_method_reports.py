"""What each search method says of itself in a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas.methods.protocol.report import MethodSection, ScoreMeaning, method_report
from nas.options import METHODS
from nas.report import summarise
from nas.run import Run, RunRecord, read_run
from nas.run.events import CalibrationFailed, CalibrationLeftOut, CalibrationTrained, PhaseFinished

from .report_events import make_run

BY_LOSS = {"scorer": "loss"}


def record_of(path: Path, method: str, until: str = "created", **others: Any) -> RunRecord:
    return read_run(make_run(path / "run", until=until, trials=20, options={"method": method, **others}))


def section_of(record: RunRecord) -> MethodSection:
    section = method_report(record).section(record)
    assert section is not None
    return section


@pytest.mark.parametrize("method", [*METHODS])
def test_every_method_says_what_it_trained_before_anything_is_on_record(method: str, tmp_path: Path) -> None:
    record = record_of(tmp_path, method)
    section = section_of(record)
    assert section.title
    assert all(section.paragraphs)
    assert method_report(record).score_meaning(record).axis_label
    assert summarise(record).method_section == section


def test_only_accuracies_read_as_percentages(tmp_path: Path) -> None:
    records = {name: record_of(tmp_path / name, name, metric="balanced-accuracy") for name in METHODS}
    records["by loss"] = record_of(tmp_path / "by loss", "supernet", method_options=BY_LOSS)
    meanings = {name: method_report(record).score_meaning(record) for name, record in records.items()}
    assert [name for name, meaning in meanings.items() if meaning.is_accuracy] == ["calibrated", "supernet"]
    assert meanings["calibrated"].axis_label == "predicted balanced accuracy after a short training"
    assert meanings["supernet"].axis_label == "score: balanced accuracy with shared weights"
    assert meanings["nwot"] == meanings["params"] == ScoreMeaning()


@pytest.mark.parametrize("own", [{}, BY_LOSS])
def test_the_supernet_gives_its_curves_and_how_far_it_is(own: dict[str, str], tmp_path: Path) -> None:
    section = section_of(record_of(tmp_path, "supernet", until="supernet", method_options=own))
    assert section.progress == "epoch 10 of 30 measured"
    assert section.curves is not None
    assert set(section.curves.series) == {"largest", "smallest", "random 1", "random 2"}
    assert [epoch for epoch, _ in section.curves.series["largest"]] == list(range(1, 11))
    assert section.commands == ()
    nothing = section_of(record_of(tmp_path / "b", "supernet", method_options=own))
    assert nothing.paragraphs == ("Nothing was measured of the supernet's training yet.",)


def test_a_trained_supernet_offers_a_lower_budget_that_it_was_trained_for(tmp_path: Path) -> None:
    manifest = {
        "options": {"space": "coatnet-small", "budgets": ["8MFLOPs"], "method": "supernet"},
        "method": {"coverage": {"low": {"macs": 4_000_000}}, "reused": None},
    }
    with Run.create(tmp_path / "run", manifest) as run:
        assert section_of(run).commands == ()
        run.append(PhaseFinished(phase="supernet", seconds=1.0))
        (command,) = section_of(run).commands
    assert command.line.startswith("nas-search --space coatnet-small --budget 6MFLOPs")
    assert command.line.endswith(f"--supernet {tmp_path / 'run'}")


def test_calibration_lists_trainings_by_accuracy_with_what_is_predicted(tmp_path: Path) -> None:
    run_path = make_run(tmp_path / "run", until="search", trials=30, failures=0, options={"method": "calibrated"})
    first, second = read_run(run_path).trials()[:2]
    with Run.open(run_path) as run:
        for trial, accuracy in ((first, 0.5), (second, 0.75)):
            plain = trial.architecture.to_dict()
            digest = trial.architecture.digest
            run.append(CalibrationTrained(digest=digest, accuracy=accuracy, architecture=plain))
        run.append(CalibrationTrained(digest="unknown", accuracy=0.25, architecture={}))
        run.append(CalibrationFailed(digest="bad", error="out of memory"))
        run.append(CalibrationLeftOut(predicted={"unknown": 0.3}, spearman=0.5))
    record = read_run(run_path)
    section = section_of(record)
    assert section.table is not None
    assert [row[0] for row in section.table.rows] == [second.architecture.digest, first.architecture.digest, "unknown"]
    assert [row[2] for row in section.table.rows] == ["75.0 %", "50.0 %", "25.0 %"]
    assert section.table.rows[2][3] == "not scored"
    assert section.paragraphs[0].endswith(" bad is left out: out of memory")
    assert " Leave-one-out rank correlation over 3 short trainings: +0.50." in section.paragraphs[0]
    costliest = max(trial.cost.macs for trial in (first, second))
    beyond = sum(trial.cost.macs > costliest for trial in record.trials())
    assert f" {beyond} scored networks cost more than any of these" in section.paragraphs[0]
    assert section.progress == "3 networks trained"
    assert "such trainings of 3 networks" in method_report(record).score_meaning(record).caption


def test_a_method_of_a_later_version_has_no_section(tmp_path: Path) -> None:
    summary = summarise(record_of(tmp_path, "oracle", until="search"))
    assert summary.method_section is None
    assert summary.phase_names == ("search", "finalists", "export")
    assert summary.score(0.51239) == "0.5124"
