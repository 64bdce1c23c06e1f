"""Statistics of the trials of a run, of any number of them, which are taken in one by one."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

from nas.budget_metrics import METRICS
from nas.trial import Trial, pareto_front

MOST_TRIALS = 10_000
"""Trials that a report keeps; of more: finalists, the front and the best by score, and the others evenly."""
_AT_A_TIME = 1000
_NO_REASON = "no reason was given"


class TrialTally:
    """Statistics of all trials; of each trial some 24 bytes stay in memory, beside names of layouts and reasons.

    Args:
        objectives: The costs that the front is over, beside the score.

    Attributes:
        origins, layouts: Trials by origin and by layout, failed ones too.
        reasons: Failed trials by reason; `first_failed` has their first numbers.
        best: The complete trial of the highest score, of several the first.
    """

    def __init__(self, objectives: Sequence[str]) -> None:
        self._objectives = tuple(objectives)
        self.origins: Counter[str] = Counter()
        self.layouts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.first_failed: dict[str, int] = {}
        self.best: Trial | None = None
        self._scores, self._seconds, self._layouts = array("d"), array("d"), array("L")
        self._names: dict[str, int] = {}
        self._least: dict[str, float] = {}
        self._front: list[Trial] = []
        self._waiting: list[Trial] = []

    def add(self, trial: Trial) -> None:
        """Takes in the next trial."""
        self.origins[trial.origin or ""] += 1
        self.layouts[trial.layout] += 1
        self._scores.append(math.nan if trial.score is None else trial.score)
        self._seconds.append(trial.seconds)
        self._layouts.append(self._names.setdefault(trial.layout, len(self._names)))
        if not trial.complete:
            reason = trial.error or _NO_REASON
            self.reasons[reason] += 1
            self.first_failed.setdefault(reason, trial.number)
            return
        if self.best is None or (trial.score or 0.0) > (self.best.score or 0.0):
            self.best = trial
        for metric in METRICS.names():
            value = trial.cost.value(metric)
            if value:
                self._least[metric] = min(value, self._least.get(metric, value))
        self._waiting.append(trial)
        if len(self._waiting) == _AT_A_TIME:
            self._join()

    def _join(self) -> None:
        self._front = pareto_front([*self._front, *self._waiting], objectives=self._objectives)
        self._waiting.clear()

    @property
    def total(self) -> int:
        return len(self._scores)

    @property
    def failed(self) -> int:
        return self.reasons.total()

    @property
    def complete(self) -> int:
        return self.total - self.failed

    @property
    def front(self) -> list[Trial]:
        """As `pareto_front` of all trials."""
        self._join()
        return list(self._front)

    @property
    def seconds(self) -> float:
        """The median time of a trial."""
        return median(self._seconds)

    def scores(self, layouts: Iterable[str]) -> dict[str, list[float]]:
        """Returns the scores of the complete trials of each of some layouts."""
        found: dict[int, list[float]] = {self._names[layout]: [] for layout in layouts}
        for place, score in zip(self._layouts, self._scores, strict=True):
            if place in found and not math.isnan(score):
                found[place].append(score)
        names = list(self._names)
        return {names[place]: scores for place, scores in found.items()}

    def least(self, metric: str) -> float | None:
        """Returns the least known cost of a complete trial, None if none is known."""
        return self._least.get(metric)

    def shown(self, first: Iterable[int]) -> list[int]:
        """Returns the numbers of `MOST_TRIALS` complete trials at most: those given, the best, the others evenly."""
        complete = [number for number, score in enumerate(self._scores) if not math.isnan(score)]
        best = sorted(complete, key=lambda number: -self._scores[number])[:MOST_TRIALS]
        chosen = set(list(dict.fromkeys([*first, *best]))[: MOST_TRIALS // 2])
        others, room = [number for number in complete if number not in chosen], MOST_TRIALS - len(chosen)
        if len(others) > room:
            others = [others[place * len(others) // room] for place in range(room)]
        return sorted([*chosen, *others])
