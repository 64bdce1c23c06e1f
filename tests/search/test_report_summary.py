from pathlib import Path

import pytest

from nas.errors import RunError
from nas.methods.supernet.report import Measurement, convergence, measurements
from nas.report import Summary, summarise
from nas.report.summary import stage_depths, stage_widths
from nas.run import Run, read_run
from nas.run.events import FinalistTrained, PhaseFinished, PhaseInterrupted, PhaseStarted, SupernetEpoch

from .report_events import architecture, make_run


def summary_of(run: Path) -> Summary:
    return summarise(read_run(run))


def test_candidates_are_the_winners_by_rank_then_other_finalists_by_accuracy(tmp_path: Path) -> None:
    summary = summary_of(make_run(tmp_path / "run", trials=60))
    assert [c.rank for c in summary.candidates] == [1, 2, 3, None, None, None]
    assert [c.path for c in summary.winners] == ["winners/1", "winners/2", "winners/3"]
    validation = [c.validation_accuracy or 0 for c in summary.candidates]
    assert validation == sorted(validation, reverse=True)
    assert all(c.trial is not None and c.epochs_done == c.epochs == 20 for c in summary.candidates)
    assert summary.finished
    assert summary.phase is None


def test_a_finalist_in_training_counts_with_the_epochs_it_has(tmp_path: Path) -> None:
    summary = summary_of(make_run(tmp_path / "run", until="finalists", trials=60))
    assert sorted((c.epochs_done, c.epochs) for c in summary.candidates) == [(10, 20)] + [(20, 20)] * 3
    assert summary.phase == "finalists"
    assert not summary.finished


def test_a_finalist_finds_its_trial_by_number_where_its_digest_is_another(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", until="search", trials=30)
    with Run.open(run) as open_run:
        open_run.append(
            FinalistTrained(digest="trained at 64 pixels", number=7, validation_accuracy=0.5, test_accuracy=0.5)
        )
    (candidate,) = summary_of(run).candidates
    assert candidate.trial is not None
    assert candidate.trial.number == 7
    assert candidate.score == candidate.trial.score


def test_phases_that_were_stopped_and_resumed_add_up(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", until="created")
    with Run.open(run) as open_run:
        open_run.append(PhaseStarted(phase="supernet"))
        open_run.append(PhaseFinished(phase="supernet", seconds=5.0))
        open_run.append(PhaseStarted(phase="search"))
        open_run.append(PhaseInterrupted(phase="search"))
        assert summary_of(run).phase == "search"
        open_run.append(PhaseStarted(phase="search"))
        open_run.append(PhaseFinished(phase="search", seconds=2.0))
        open_run.append(PhaseStarted(phase="search"))
        open_run.append(PhaseFinished(phase="search", seconds=3.0))
    phases = {phase.name: phase for phase in summary_of(run).phases}
    assert {name: phase.seconds for name, phase in phases.items()} == {"supernet": 5.0, "search": 5.0}
    assert phases["search"].finished


def test_epochs_that_were_trained_again_count_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", until="created")
    with Run.open(run) as open_run:
        for epoch, accuracy in ((1, 0.1), (2, 0.2), (2, 0.3), (3, 0.4)):
            open_run.append(SupernetEpoch(epoch=epoch, step=epoch * 10, accuracies={"largest": accuracy}))
    assert [measured.accuracies["largest"] for measured in measurements(read_run(run))] == [0.1, 0.3, 0.4]


def test_depths_and_widths_are_read_off_the_architecture() -> None:
    one = architecture("CA", [2, 3], [16, 32])
    assert stage_depths(one) == [2, 3]
    assert stage_widths(one) == [16, 32]


def curve(*means: float) -> list[Measurement]:
    return [
        Measurement(epoch=epoch, accuracies={"largest": mean + 0.1, "smallest": mean - 0.1})
        for epoch, mean in enumerate(means, start=1)
    ]


def test_a_curve_that_rises_levels_off_or_falls_is_called_so() -> None:
    assert any("still rising" in s for s in convergence(curve(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)))
    assert any("levelled off" in s for s in convergence(curve(0.1, 0.4, 0.6, 0.7, 0.74, 0.75, 0.75, 0.755)))
    assert any("falling" in s for s in convergence(curve(0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.5, 0.4)))
    assert "more --epochs" not in " ".join(convergence(curve(0.1, 0.2, 0.3, 0.4, 0.5), ended=False))
    assert "too few" in convergence(curve(0.1, 0.2, 0.3))[0]
    assert "Measured 0 times" in convergence([])[0]


def test_the_last_change_is_told_in_figures() -> None:
    words = convergence(curve(0.1, 0.4, 0.6, 0.7, 0.74, 0.75, 0.75, 0.755))
    # The last quarter of eight measurements: 0.750 to 0.755, and 0.655 since the first.
    assert words[0].startswith("From epoch 6 to 8 the mean of these 2 networks changed by +0.5 points")
    assert words[0].endswith("since epoch 1 by +65.5 points.")


def test_a_largest_network_behind_the_smallest_is_pointed_out() -> None:
    points = [Measurement(epoch=e, accuracies={"largest": 0.5, "smallest": 0.6}) for e in range(8)]
    assert "too little training" in convergence(points)[-1]


def test_an_objective_or_a_count_that_there_is_not_is_damage(tmp_path: Path) -> None:
    for name, old, new in (
        ("objective", '"objective":"macs"', '"objective":"macs$"'),
        ("n must be", '"n":', '"n":"a","m":'),
    ):
        run = make_run(tmp_path / name, trials=20)
        events = run / "events.jsonl"
        text = events.read_text()
        assert old in text
        events.write_text(text.replace(old, new, 1))
        with pytest.raises(RunError, match=f"is damaged.*{name}"):
            summary_of(run)
