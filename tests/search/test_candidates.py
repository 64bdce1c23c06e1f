"""Scoring candidates: what is told on the way."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nas
from nas.architecture import Architecture
from nas.jobs.executor import InProcess
from nas.pipeline.candidates import score_candidates
from nas.progress import Silent
from nas.run import Run
from nas.sampling.budget_sampler import BudgetSampler

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
    context: Any = SimpleNamespace(
        run=run,
        plan=SimpleNamespace(trials=len(scores), population=population),
        options=SimpleNamespace(searcher="random", seed=0, objective=None),
        budgets=(),
        sampler=BudgetSampler(small_space(), [nas.Budget.parse("50kFLOPs")]),
        presets=(),
        progress=progress,
    )
    trials = score_candidates(context, InProcess(lambda: Given(scores)))
    run.close()
    assert [trial.score for trial in trials] == scores
    assert progress.shown == shown
