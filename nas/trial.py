"""One architecture that a search looked at: what it costs, what it scored, or why it failed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import le
from typing import Any, Literal, TypeAlias, cast

from nas.architecture import Architecture
from nas.budget import Cost
from nas.errors import NasError, RunError, shortened

Status: TypeAlias = Literal["complete", "failed"]
STATUSES: tuple[Status, ...] = ("complete", "failed")


def trial_seed(seed: int, number: int) -> int:
    """Returns what the scoring of a trial is seeded with, by the search's seed and the trial's place."""
    return seed * 100_003 + number


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One architecture with its cost and score; plain data that survives JSON.

    Attributes:
        number: Place in the search, from 0.
        score: Higher is better; finite for a complete trial, None for a failed one.
        seed: What the scoring of this trial was seeded with.
        seconds: Wall-clock time of the scoring.
        error: Why a failed trial failed.
        layout: One letter per stage, or per block: C for convolution, A for attention.
        origin: Where the architecture came from, such as "random", "mutation" or "preset".
        batch: The ask of the searcher that proposed it, from 0.

    Raises:
        RunError: If status and score contradict each other: a score that is not a finite number is a failure.
    """

    number: int
    architecture: Architecture
    cost: Cost
    status: Status
    score: float | None
    seed: int
    seconds: float
    error: str | None = None
    layout: str = ""
    origin: str = ""
    batch: int = 0

    def __post_init__(self) -> None:
        # A NumPy integer or a whole float would compare equal yet be written differently.
        for name in ("number", "seed", "batch"):
            object.__setattr__(self, name, int(getattr(self, name)))
        object.__setattr__(self, "seconds", float(self.seconds))
        if self.status not in STATUSES:
            raise RunError(f"Trial {self.number}: status must be complete or failed, not {self.status!r}.")
        if self.score is not None:
            object.__setattr__(self, "score", float(self.score))
        if self.status == "complete" and (self.score is None or not math.isfinite(self.score)):
            raise RunError(
                f"Trial {self.number}: a complete trial needs a finite score, not {self.score}. Record it as failed."
            )
        if self.status == "failed" and self.score is not None:
            raise RunError(f"Trial {self.number}: a failed trial has no score, but got {self.score}. Set it to None.")
        if not math.isfinite(self.seconds):
            raise RunError(f"Trial {self.number}: seconds must be finite, not {self.seconds}.")

    @property
    def complete(self) -> bool:
        return self.status == "complete"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; `from_dict` reads it back to an equal trial."""
        data = {item.name: getattr(self, item.name) for item in fields(self)}
        data["architecture"] = self.architecture.to_dict()
        data["cost"] = self.cost.to_dict()
        # Given for whoever reads the file; it is computed from the architecture, never read back.
        return {"digest": self.architecture.digest, **data}

    @classmethod
    def from_dict(cls, data: object) -> Trial:
        """Reads what `to_dict` wrote.

        Raises:
            RunError: If a part is missing, unknown or of the wrong type.
        """
        if not isinstance(data, Mapping):
            raise RunError(f"A trial must be a mapping, not {type(data).__name__}.")
        parts = {str(key): value for key, value in cast("Mapping[Any, Any]", data).items() if key != "digest"}
        try:
            parts["architecture"] = Architecture.from_dict(parts["architecture"])
            parts["cost"] = Cost.from_dict(parts["cost"])
            return cls(**parts)
        except KeyError as missing:
            raise RunError(f"A trial lacks {missing}.") from None
        except (NasError, AttributeError, TypeError, ValueError, OverflowError) as fault:
            number = str(parts.get("number", "?"))[:20]
            said = shortened(fault) if isinstance(fault, NasError) else str(fault)[:200]
            raise RunError(f"Trial {number} cannot be read: {said}") from None


def pareto_front(trials: Iterable[Trial], *, objectives: Sequence[str] = ("macs",)) -> list[Trial]:
    """The complete trials that no other beats: none scores as much for less, or more for the same costs.

    Ordered by rising cost, of several by the first. Of trials equal in all, the earliest stays.

    Args:
        objectives: The costs that are minimized, of `nas.budget_metrics.METRICS`; trials without one take no part.
    """
    measured: list[tuple[tuple[float, ...], float, int, Trial]] = []
    for trial in trials:
        costs = [trial.cost.value(objective) for objective in objectives]
        known = tuple(cost for cost in costs if cost is not None)
        if trial.score is not None and len(known) == len(objectives):
            measured.append((known, -trial.score, trial.number, trial))
    measured.sort(key=lambda item: item[:3])
    return [measured[place][3] for place in non_dominated([(*costs, loss) for costs, loss, _, _ in measured])]


def non_dominated(points: Sequence[tuple[float, ...]]) -> list[int]:
    """Returns the places of the points that no other equals or beats on every axis, where less is better.

    Args:
        points: In lexicographic order, so that only an earlier one can beat a later one.
    """
    kept: list[int] = []
    best = math.inf
    for place, point in enumerate(points):
        if len(point) == 2:
            beaten = best <= point[1]
            best = min(best, point[1])
        else:
            beaten = any(all(map(le, points[other], point)) for other in reversed(kept))
        if not beaten:
            kept.append(place)
    return kept
