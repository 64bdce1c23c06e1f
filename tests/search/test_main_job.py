"""One real, tiny search from data to winners, and what may happen to it on the way."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.budget import Budget
from nas.data import Dataset
from nas.errors import BudgetError, RunError
from nas.export import export_run
from nas.options import SearchOptions
from nas.pipeline.search import SearchResult
from nas.report import rebuild
from nas.run import read_run
from nas.run.events import (
    Event,
    FinalistEpoch,
    FinalistTrained,
    PhaseFinished,
    PhaseInterrupted,
    PhaseStarted,
    RankingEvaluated,
    RunFinished,
    RunStarted,
    SupernetAccuracy,
    SupernetEpoch,
    TrialScored,
    UpdateCounts,
    WinnerExported,
)
from nas.trial import Trial

from ..event_cases import timeless
from ..notes import Notes

BUDGET = Budget.parse("5MFLOPs")
OPTIONS = SearchOptions.of(
    space="coatnet-small",
    trials=10,
    epochs=2,
    finalists=3,
    finalist_epochs=1,
    rivals=0,
    strategy="single-path",
    threads=1,
    device="cpu",
    train_resolution=16,
    batch_size=64,
    onnx=False,
)
BLOCKED = "import sys, runpy; sys.modules['nas'] = None; runpy.run_path(sys.argv.pop(1), run_name='__main__')"


class Phases(Notes):
    """Remembers the phase in progress, and notes."""

    now = "start"

    def start(self, phase: str, total: int, unit: str) -> None:
        self.now = phase


@dataclass(frozen=True)
class Done:
    path: Path
    result: SearchResult
    test_reads: list[str]
    notes: list[str]


def run_search(out: Path, progress: Phases | None = None, **changes: Any) -> SearchResult:
    options = OPTIONS.replaced(out=str(out), **changes)
    space = nas.load_space("coatnet-small")
    return nas.search(space, budgets=[BUDGET], data="digits", options=options, progress=progress or Phases())


pytestmark = pytest.mark.usefixtures("own_threads")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The search, with every look at the test split noted by the phase it happened in."""
    path, progress = tmp_path_factory.mktemp("runs") / "a", Phases()
    reads: list[str] = []
    slot: Any = Dataset.test

    def read(data: Dataset) -> Any:
        reads.append(progress.now)
        return slot.__get__(data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "test", property(read, slot.__set__))
        result = run_search(path, progress)
    return Done(path, result, reads, progress.notes)


def trials(path: Path) -> list[Trial]:
    return [replace(trial, seconds=0.0) for trial in read_run(path).trials()]


def comparable(path: Path, kind: type[Event]) -> list[Any]:
    """Events of a kind without what depends on the time."""
    return timeless(read_run(path).events(kind))


def copy(done: Done, to: Path, *, trials_kept: int | None = None, torn: bool = False) -> Path:
    """A copy of the run, its record cut off after some trials as a kill would have left it."""
    shutil.copytree(done.path, to)
    if trials_kept is not None:
        record = to / "events.jsonl"
        lines = record.read_bytes().splitlines(keepends=True)
        numbers = [i for i, line in enumerate(lines) if b'"event":"trial"' in line]
        kept = lines[: numbers[trials_kept - 1] + 1]
        record.write_bytes(b"".join(kept) + (lines[numbers[trials_kept]][:50] if torn else b""))
        shutil.rmtree(to / "winners")
    return to


# -- what comes out -------------------------------------------------------------------------------------------


def test_winners_are_within_the_budget_and_use_what_they_should_of_it(done: Done) -> None:
    assert done.result.winners
    for winner in done.result.winners:
        assert OPTIONS.min_share * BUDGET.bound <= winner.macs <= BUDGET.bound
        architecture = nas.load_architecture(Path(winner.path) / "architecture.yaml")
        assert architecture.digest == winner.digest
        cost = nas.cost(architecture)
        assert (cost.macs, cost.params) == (winner.macs, winner.params)


def test_winners_are_all_finalists_ranked_by_training_and_the_front_is_marked(done: Done) -> None:
    macs = [winner.macs for winner in done.result.winners]
    assert [winner.rank for winner in done.result.winners] == [*range(1, len(macs) + 1)]
    front = [winner.macs for winner in done.result.winners if winner.on_front]
    assert front[0] == macs[0]
    assert front == sorted(front, reverse=True)
    chosen_by = {winner.chosen_by for winner in done.result.winners}
    assert "score" in chosen_by
    assert chosen_by & {"params", "log_channels"}
    finalists = {event.digest: event for event in read_run(done.path).events(FinalistTrained)}
    accuracies = [finalists[winner.digest].validation_accuracy for winner in done.result.winners]
    assert accuracies == sorted(accuracies, reverse=True)
    assert len(accuracies) == len(finalists) == 3
    for winner in done.result.winners:
        assert winner.test_accuracy == finalists[winner.digest].test_accuracy


def test_every_file_of_a_run_is_there(done: Done) -> None:
    names = {path.name for path in done.path.iterdir()} - {".lock"}
    assert names == {
        "run.yaml",
        "events.jsonl",
        "supernet",
        "finalists",
        "trials.csv",
        "study.journal",
        "pareto.png",
        "report.html",
        "winners",
    }
    assert list((done.path / "supernet").glob("*.safetensors"))
    digests = {event.digest for event in read_run(done.path).events(FinalistTrained)}
    assert {path.name for path in (done.path / "finalists").iterdir()} == digests
    for winner in done.result.winners:
        found = {path.name for path in Path(winner.path).iterdir()}
        assert found == {"architecture.yaml", "model.py", "weights.safetensors", "preprocessing.json", "card.md"}


def test_no_trial_is_over_the_budget_or_seen_twice(done: Done) -> None:
    found = trials(done.path)
    assert [trial.number for trial in found] == [*range(OPTIONS.trials or 0)]
    assert max(Counter(trial.architecture for trial in found).values()) == 1
    for trial in found:
        assert OPTIONS.min_share * BUDGET.bound <= trial.cost.macs <= BUDGET.bound
        assert trial.complete
        assert trial.score is not None
        assert 0 <= trial.score <= 1


def test_a_winner_runs_without_this_package(done: Done, tmp_path: Path) -> None:
    for winner in done.result.winners[:1]:
        command = [sys.executable, "-c", BLOCKED, str(Path(winner.path) / "model.py")]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert "10" in ran.stdout


def test_events_are_in_the_order_of_the_work(done: Done) -> None:
    events = read_run(done.path).events()
    kinds = list(dict.fromkeys(type(event) for event in events))
    assert kinds == [
        RunStarted,
        PhaseStarted,
        SupernetAccuracy,
        SupernetEpoch,
        UpdateCounts,
        PhaseFinished,
        TrialScored,
        FinalistEpoch,
        FinalistTrained,
        RankingEvaluated,
        WinnerExported,
        RunFinished,
    ]
    phases = [(type(event), event.phase) for event in events if isinstance(event, PhaseStarted | PhaseFinished)]
    names = ("supernet", "search", "finalists", "export")
    assert phases == [(kind, name) for name in names for kind in (PhaseStarted, PhaseFinished)]
    assert [type(event) for event in (events[0], events[-1])] == [RunStarted, RunFinished]


def test_the_test_split_is_read_once_per_finalist_and_never_before(done: Done) -> None:
    reads = Counter("finalist" if phase.startswith("finalist") else phase for phase in done.test_reads)
    assert reads.pop("finalist") == OPTIONS.finalists
    # The cards say how many images were tested on.
    assert set(reads) <= {"export"}


def test_a_lower_training_resolution_is_said(done: Done) -> None:
    assert any("counted at 32 pixels" in note and "at 16 pixels" in note for note in done.notes)
    card = (Path(done.result.winners[0].path) / "card.md").read_text()
    assert "16" in card
    assert all(event.resolution == 16 for event in read_run(done.path).events(FinalistTrained))


def test_few_finalists_are_not_judged(done: Done) -> None:
    assert done.result.ranking["n"] == OPTIONS.finalists
    assert done.result.ranking["verdict"] == "too few to judge"


def test_tables_and_report_can_be_made_again(done: Done, tmp_path: Path) -> None:
    path = copy(done, tmp_path / "b")
    made = {name: (path / name).read_bytes() for name in ("trials.csv", "report.html")}
    for name in ("trials.csv", "study.journal", "pareto.png", "report.html"):
        (path / name).unlink()
    assert {file.name for file in rebuild(path)} == {"trials.csv", "study.journal", "pareto.png", "report.html"}
    assert (path / "trials.csv").read_bytes() == made["trials.csv"]
    assert b"winners/1" in (path / "report.html").read_bytes()


# -- going on -------------------------------------------------------------------------------------------------


def test_a_finished_run_resumed_does_nothing_new(done: Done, tmp_path: Path) -> None:
    path = copy(done, tmp_path / "b")
    before = (path / "events.jsonl").read_bytes()
    result = nas.resume(path)
    assert (path / "events.jsonl").read_bytes() == before
    assert result.ranking == done.result.ranking
    assert [replace(winner, path="") for winner in result.winners] == [
        replace(winner, path="") for winner in done.result.winners
    ]


@pytest.mark.usefixtures("unexported")
@pytest.mark.parametrize("kept", [4, 6])
def test_a_search_stopped_between_trials_ends_with_the_same_ones(done: Done, tmp_path: Path, kept: int) -> None:
    path = copy(done, tmp_path / "b", trials_kept=kept, torn=kept == 6)
    result = nas.resume(path)
    assert trials(path) == trials(done.path)
    for kind in (FinalistTrained, RankingEvaluated):
        assert comparable(path, kind) == comparable(done.path, kind)
    assert [winner.digest for winner in result.winners] == [winner.digest for winner in done.result.winners]
    assert len(read_run(path).events(RunFinished)) == 1


@pytest.mark.usefixtures("unexported")
def test_a_search_stopped_in_the_supernet_ends_with_the_same_trials(done: Done, tmp_path: Path) -> None:
    class Stop(Phases):
        def advance(self, n: int = 1, **figures: str | float | int) -> None:
            if self.now == "supernet" and figures:
                raise KeyboardInterrupt

    path = tmp_path / "b"
    with pytest.raises(KeyboardInterrupt):
        run_search(path, Stop())
    assert [event.phase for event in read_run(path).events(PhaseInterrupted)] == ["supernet"]
    assert not read_run(path).trials()
    nas.resume(path)
    assert trials(path) == trials(done.path)
    assert comparable(path, SupernetEpoch) == comparable(done.path, SupernetEpoch)


def test_a_run_of_another_space_is_not_resumed(done: Done, tmp_path: Path) -> None:
    path = copy(done, tmp_path / "b")
    record = path / "events.jsonl"
    digest = nas.load_space("coatnet-small").digest
    record.write_bytes(record.read_bytes().replace(digest.encode(), b"f" * len(digest)))
    with pytest.raises(RunError, match="was made for the search space"):
        nas.resume(path)


@pytest.mark.usefixtures("unexported")
@pytest.mark.slow
def test_the_same_seed_gives_the_same_trials(done: Done, tmp_path: Path) -> None:
    run_search(tmp_path / "b", finalist_epochs=1)
    assert trials(tmp_path / "b") == trials(done.path)
    run_search(tmp_path / "c", finalist_epochs=1, seed=1)
    assert [t.architecture for t in trials(tmp_path / "c")] != [t.architecture for t in trials(done.path)]


# -- refusals -------------------------------------------------------------------------------------------------


def test_an_infeasible_budget_is_refused_before_there_is_a_folder(tmp_path: Path) -> None:
    space = nas.load_space("coatnet-small")
    options = OPTIONS.replaced(out=str(tmp_path / "a"))
    with pytest.raises(BudgetError, match=r"No coatnet-small network fits 10kFLOPs|No coatnet-small network fits"):
        nas.search(space, budgets=[Budget.parse("0.01MFLOPs")], options=options)
    assert not (tmp_path / "a").exists()


def test_two_budgets_of_one_metric_are_refused() -> None:
    space, budgets = nas.load_space("coatnet-small"), [BUDGET, Budget.parse("6MFLOPs")]
    with pytest.raises(BudgetError, match="give one of them"):
        nas.search(space, budgets=budgets)
    with pytest.raises(BudgetError, match="give one of them"):
        nas.sample(space, random.Random(0), budgets)


def test_a_folder_with_a_run_is_not_overwritten(done: Done, tmp_path: Path) -> None:
    path = copy(done, tmp_path / "b")
    with pytest.raises(RunError, match="already holds a run"):
        run_search(path)


# -- exporting again ------------------------------------------------------------------------------------------


def test_a_winner_exported_again_goes_to_a_folder_of_its_own(done: Done, tmp_path: Path) -> None:
    path = copy(done, tmp_path / "b")
    before = {file.name: file.read_bytes() for file in (path / "winners" / "1").iterdir() if file.is_file()}
    found = export_run(path, 1, ["code", "weights"])
    assert found["path"] == str(path / "exports" / "1")
    assert found["files"] == ["model.py", "weights.safetensors", "preprocessing.json", "card.md"]
    assert sorted(file.name for file in (path / "exports" / "1").iterdir()) == sorted(found["files"])
    assert found["code_error"] == 0
    after = {file.name: file.read_bytes() for file in (path / "winners" / "1").iterdir() if file.is_file()}
    assert after == before


def test_ranks_that_are_not_there_are_refused(done: Done, tmp_path: Path) -> None:
    # How many of the finalists win follows from the weights that they began with.
    with pytest.raises(nas.NasError, match=r"--rank 9: .* (one winner|winners)\. Give --rank 1( to [0-9])?"):
        export_run(done.path, 9)
    path = copy(done, tmp_path / "b", trials_kept=3)
    with pytest.raises(RunError, match="has no winners yet"):
        export_run(path)
    path = copy(done, tmp_path / "c")
    shutil.rmtree(path / "winners" / "1")
    with pytest.raises(RunError, match=r"winners/1 is missing\. Write it again with nas-search --resume"):
        export_run(path)
