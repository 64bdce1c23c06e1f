"""Which choices mattered: mean scores by value of each decision, and the share of their variance that it explains."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from nas.architecture import BlockConfig, StageConfig
from nas.costs.profiling import stage_letter
from nas.ops import OPS
from nas.report.architecture_table import stage_maps
from nas.report.summary import Summary, stage_numbers
from nas.trial import Trial

MOST_VALUES = 16
"""Values of a decision; one with more, such as the letters of twelve layers, is left out."""
_FIRST = ("op", "depth", "width", "kernel_size", "expand_ratio")
# Parameters that are decisions of their own, or follow from the place of a layer.
_NOT_CHOICES = ("width", "stride")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Scores with one value of a decision: number of trials, mean score, and its standard error, None of one trial."""

    value: str
    trials: int
    mean: float
    error: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision of one stage.

    Attributes:
        stage: From 1.
        kind: "op", "depth", "width" (channels of the output), or a parameter of the stage's ops.
        share: Share of the variance of scores that it explains alone, among the trials that take it: epsilon squared
            (Kelley 1935), the correlation ratio less what its number of values explains by chance.
    """

    stage: int
    kind: str
    share: float
    effects: tuple[Effect, ...]


@dataclass(slots=True)
class Moments:
    """Number, mean and sum of squared deviations of figures that are taken in one by one (Welford 1962)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        from_before = value - self.mean
        self.mean += from_before / self.count
        self.squares += from_before * (value - self.mean)


def marginal_effects(summary: Summary) -> list[Decision]:
    """Returns the decisions that took at least two values, by kind and stage, among all trials."""
    all_here = len(summary.trials) == summary.tally.total
    tally = EffectTally()
    for trial in summary.trials if all_here else summary.record.each_trial():
        if trial.complete:
            tally.add(trial)
    return tally.decisions()


class EffectTally:
    """Scores by value of each decision, of trials that are taken in one by one."""

    def __init__(self) -> None:
        # None for a decision with more values than are shown.
        self._groups: dict[tuple[str, int], dict[str, Moments] | None] = {}

    def add(self, trial: Trial) -> None:
        """Takes in a complete trial."""
        for key, value in choices(trial).items():
            values = self._groups.setdefault(key, {})
            if values is None:
                continue
            if value not in values and len(values) == MOST_VALUES:
                self._groups[key] = None
                continue
            values.setdefault(value, Moments()).add(trial.score or 0.0)

    def decisions(self) -> list[Decision]:
        """Returns the decisions that took at least two values, by kind and stage."""
        found = [
            Decision(stage=stage, kind=kind, share=explained(values), effects=_effects(values))
            for (kind, stage), values in self._groups.items()
            if values is not None and len(values) > 1
        ]
        return sorted(found, key=lambda each: (_place(each.kind), each.kind, each.stage))


def explained(groups: Mapping[str, Moments]) -> float:
    """Returns the share of the variance of scores that lies between groups: epsilon squared, from 0 to 1."""
    count = sum(group.count for group in groups.values())
    first = next(iter(groups.values())).mean
    # From the first group's mean, so that equal means differ by nothing.
    middle = sum(group.count * (group.mean - first) for group in groups.values()) / count
    within = sum(group.squares for group in groups.values())
    total = within + sum(group.count * (group.mean - first - middle) ** 2 for group in groups.values())
    free = count - len(groups)
    if total == 0 or free < 1:
        return 0.0
    return max(0.0, 1 - (within / free) / (total / (count - 1)))


def _effects(groups: Mapping[str, Moments]) -> tuple[Effect, ...]:
    return tuple(
        Effect(
            value=value,
            trials=scores.count,
            mean=scores.mean,
            error=math.sqrt(scores.squares / (scores.count - 1) / scores.count) if scores.count > 1 else None,
        )
        for value, scores in sorted(groups.items(), key=lambda item: _order(item[0]))
    )


def choices(trial: Trial) -> dict[tuple[str, int], str]:
    """Returns the value of each decision, by kind and stage."""
    found: dict[tuple[str, int], str] = {}
    maps = stage_maps(trial.architecture)
    for number, stage, (width, _, _) in zip(stage_numbers(trial), trial.architecture.stages, maps, strict=True):
        found |= {(kind, number): value for kind, value in _of_stage(stage).items()}
        if width is not None:
            found["width", number] = str(width)
    return found


@lru_cache(maxsize=65536)
def _of_stage(stage: StageConfig) -> dict[str, str]:
    """Returns the value of each decision of a stage; several values of its layers as "3, 5"."""
    if not stage.layers:
        return {"depth": "0"}
    values: dict[str, dict[str, None]] = {}
    for branch in (branch for layer in stage.layers for branch in layer.branches):
        for name, value in _parameters(branch.mixer).items():
            values.setdefault(name, {})[str(value)] = None
    several = {name: ", ".join(sorted(given, key=_order)) for name, given in values.items()}
    return {**several, "op": stage_letter(stage), "depth": str(len(stage.layers))}


def _parameters(block: BlockConfig) -> dict[str, Any]:
    """Returns a block's plain parameters, with the defaults of its op, which architectures leave out."""
    known = dict(block.params)
    if block.op in OPS:
        for each in dataclasses.fields(OPS[block.op].Config):
            if each.default is not dataclasses.MISSING:
                known.setdefault(each.name, each.default)
    plain = {name: value for name, value in known.items() if isinstance(value, int | float | str)}
    return {name: value for name, value in plain.items() if name not in _NOT_CHOICES}


def _place(kind: str) -> int:
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)


def _order(value: str) -> tuple[float, str]:
    """Numbers by size, before words."""
    try:
        return float(value.split(",")[0]), value
    except ValueError:
        return math.inf, value
