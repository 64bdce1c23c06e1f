"""Scoring candidates: what is told on the way."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nas
from nas.architecture import Architecture
from nas.executors.pool import Answer, TimeLimit, WorkerPool
from nas.jobs.executor import InProcess, Job, run_job
from nas.options import SEARCHERS
from nas.pipeline.candidates import score_candidates
from nas.progress import Progress, Silent
from nas.run import Run, read_run
from nas.sampling.budget_sampler import BudgetSampler
from nas.trial import Trial, trial_seed

from ..notes import Interrupt, Notes
from ..small_space import small_space


class Best(Silent):
    """What is shown as the best score, trial after trial."""

    def __init__(self) -> None:
        self.shown: list[Any] = []

    def advance(self, n: int = 1, **figures: str | float | int) -> None:
        if "last" in figures:
            self.shown.append(figures.get("best"))


class Given:
    """A scorer with these scores, whatever the networks; None is one that fails."""

    def __init__(self, scores: list[float | None]) -> None:
        self._scores = iter(scores)

    def score(self, architecture: Architecture) -> float:
        found = next(self._scores)
        if found is None:
            raise RuntimeError("it failed")
        return found


def context_of(run: Run, *, trials: int, population: int = 4, progress: Progress | None = None, **given: Any) -> Any:
    return SimpleNamespace(
        run=run,
        plan=SimpleNamespace(trials=trials, population=population),
        options=SimpleNamespace(**{"searcher": "random", "seed": 0, "objective": None, "asynchronous": False, **given}),
        budgets=(),
        sampler=BudgetSampler(small_space(), [nas.Budget.parse("50kFLOPs")]),
        presets=(),
        progress=progress or Silent(),
    )


@pytest.mark.parametrize(
    ("scores", "shown"),
    [
        ([-3.0, -2.0, -2.5, -1.0], ["-3.0000", "-2.0000", "-2.0000", "-1.0000"]),
        ([0.0, -1.0, -2.0, 0.5], ["0.0000", "0.0000", "0.0000", "0.5000"]),
        ([None, -4.0, None, -5.0], [None, "-4.0000", "-4.0000", "-4.0000"]),
    ],
)
@pytest.mark.parametrize("population", [2, 4])
def test_the_best_score_is_the_largest_of_any_sign(
    population: int, scores: list[float | None], shown: list[str | None], tmp_path: Path
) -> None:
    progress, run = Best(), Run.create(tmp_path / "a", {"options": {"space": "small"}})
    context = context_of(run, trials=len(scores), population=population, progress=progress)
    trials = score_candidates(context, InProcess(lambda: Given(scores)))
    run.close()
    assert [trial.score for trial in trials] == scores
    assert progress.shown == shown


# -- as workers become free -----------------------------------------------------------------------------------


class Unequal:
    """A crew of workers of which the first is the slowest: it answers after all others have answered twice.

    Attributes:
        begun, ended: Seeds of jobs in the order in which they began and ended.
        most: The most jobs at a time.
    """

    def __init__(self) -> None:
        self.begun, self.ended, self.most = list[int](), list[int](), 0
        self._owed: dict[int, Job | None] = {}
        self._waited = 0

    def start(self) -> int:
        self._owed[len(self._owed)] = None
        return len(self._owed) - 1

    def ask(self, worker: int, job: Job) -> None:
        self._owed[worker] = job
        self.begun.append(job.seed)
        self.most = max(self.most, len(self.begun) - len(self.ended))

    def answers(self, workers: list[int], timeout_s: float) -> list[tuple[int, Answer]]:
        starting = [(worker, Answer()) for worker in workers if self._owed[worker] is None]
        if starting:
            return starting
        self._waited += 1
        worker = workers[0] if self._waited % (2 * len(workers)) == 0 else workers[-1 - self._waited % 2]
        job = self._owed[worker]
        assert job is not None
        self.ended.append(job.seed)
        return [(worker, Answer(result=run_job(Sized(), job)))]

    def stop(self, worker: int) -> None:
        pass


class Sized:
    """Scores a network by its layers."""

    def score(self, architecture: Architecture) -> float:
        if len(architecture.stages[-1].layers) == 3:
            raise RuntimeError("it failed")
        return float(sum(len(stage.layers) for stage in architecture.stages))


def as_free(run: Run, *, trials: int, workers: int = 3, **given: Any) -> tuple[Unequal, list[Trial]]:
    crew = Unequal()
    pool = WorkerPool(crew, size=workers, limit=TimeLimit(None, 1.0))
    found = score_candidates(context_of(run, trials=trials, asynchronous=True, **given), pool)
    pool.close()
    return crew, found


@pytest.mark.parametrize("searcher", [*SEARCHERS])
def test_no_worker_waits_and_trials_are_recorded_as_they_end(searcher: str, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", {"options": {"space": "small"}})
    crew, trials = as_free(run, trials=60, searcher=searcher)
    run.close()
    assert [trial.number for trial in trials] == list(range(60))
    assert [trial.seed for trial in trials] == crew.ended != crew.begun
    assert crew.begun == [trial_seed(0, number) for number in range(60)]
    batches = [trial.batch for trial in sorted(trials, key=lambda trial: trial.seed)]
    assert batches == sorted(batches)
    assert batches[:3] == [0, 0, 0], "three workers were free"
    assert len({trial.architecture for trial in trials}) == 60
    assert crew.most == 3
    assert {trial.status for trial in trials} == {"complete", "failed"}
    assert read_run(tmp_path / "a").trials() == trials
    learnt = [trial for trial in trials if trial.origin not in ("random", "largest")]
    assert bool(learnt) == (searcher != "random")


def test_it_goes_on_from_what_is_on_record(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", {"options": {"space": "small"}})
    with pytest.raises(KeyboardInterrupt):
        as_free(run, trials=40, searcher="evolution", progress=Interrupt(20, "last"))
    before = run.trials()
    assert len(before) == 20
    with_one = InProcess(Sized)
    trials = score_candidates(context_of(run, trials=40, searcher="evolution", asynchronous=True), with_one)
    run.close()
    assert trials[:20] == before
    assert [trial.number for trial in trials] == list(range(40))
    assert len({trial.architecture for trial in trials}) == 40
    for numbers in ([trial.batch for trial in trials], [trial.seed for trial in trials]):
        first = 1 + max(numbers[:20])
        assert numbers[20:] == list(range(first, first + 20))


def test_in_one_process_it_depends_on_the_seed_alone(tmp_path: Path) -> None:
    found: list[list[Architecture]] = []
    for name in "ab":
        run = Run.create(tmp_path / name, {"options": {"space": "small"}})
        context = context_of(run, trials=30, searcher="evolution", asynchronous=True)
        found.append([trial.architecture for trial in score_candidates(context, InProcess(Sized))])
        run.close()
    assert found[0] == found[1]


def test_it_ends_where_nothing_is_left_to_propose(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", {"options": {"space": "small"}})
    progress = Notes()
    _, trials = as_free(run, trials=100_000, workers=5, progress=progress)
    run.close()
    assert 10 < len(trials) == len({trial.architecture for trial in trials}) < 100_000
    assert progress.notes == [f"The feasible set holds no more networks: {len(trials)} were scored."]
