"""The trials of a run as columns, for the page's charts: compact, and of bounded size whatever the run."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from nas.architecture import Architecture
from nas.budget_metrics import METRICS
from nas.costs.profiling import layer_letter
from nas.report.architecture_table import ArchitectureTable
from nas.report.summary import Summary
from nas.trial import Trial

MOST_CHARACTERS = 750_000
"""Of the architectures on the page; those of the lowest scores are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A figure of trials that a chart can show.

    Attributes:
        key: Name of its column.
        factor: What one unit of `unit` is worth: 1e6 of "MMACs".
        is_share: Whether it is shown in percent.
        higher: Whether higher is better.
        bound, least: The range that a budget allows, None without one.
    """

    key: str
    label: str
    unit: str = ""
    factor: float = 1.0
    is_share: bool = False
    higher: bool = False
    bound: float | None = None
    least: float | None = None


def trial_columns(summary: Summary, trials: list[Trial]) -> dict[str, Any]:
    """Returns the columns of trials, and the tables that their numbers refer to, as plain JSON.

    Columns: `number`, `score`, one per known metric (fractions have six digits), `layout` and `origin` (places in
    `layouts` and `origins`), `attention` (the share of layers that use it), and `architecture`: `[frame, stage, …]` of
    the tables `pieces` and `stages`, or 0 where there was no room for it. Beside them `rivals`, by name: the stages of
    networks that are no trials.
    """
    layouts, origins = _Words(), _Words()
    columns: dict[str, list[Any]] = {
        "number": [trial.number for trial in trials],
        "score": [_short(trial.score) for trial in trials],
        **{name: [_short(trial.cost.value(name)) for trial in trials] for name in _metrics(trials)},
        "layout": [layouts.place(trial.layout) for trial in trials],
        "origin": [origins.place(trial.origin) for trial in trials],
        "attention": [_short(_attention(trial.architecture)) for trial in trials],
    }
    table = ArchitectureTable()
    numbers: dict[int, list[int]] = {}
    shown = {trial.number for trial in trials}
    for trial in _by_weight(summary):
        if table.characters > MOST_CHARACTERS:
            break
        if trial.number in shown:
            frame, stages = table.add(trial.architecture)
            numbers[trial.number] = [frame, *stages]
    rivals = {
        name: table.add(Architecture.from_dict(plain))[1] for name, plain in summary.record.part("rivals").items()
    }
    columns["architecture"] = [numbers.get(trial.number, 0) for trial in trials]
    return {
        "columns": columns,
        "layouts": layouts.known,
        "origins": origins.known,
        "pieces": table.pieces,
        "stages": table.stages,
        "rivals": rivals,
    }


def axes(summary: Summary, trials: list[Trial]) -> list[Axis]:
    """Returns the figures that the charts can show: score, costs and, where networks were trained, accuracies."""
    meaning = summary.score_meaning
    found = [Axis(key="score", label=meaning.axis_label, is_share=meaning.is_accuracy, higher=True)]
    for key in ("validation", "test"):
        if any(getattr(candidate, f"{key}_accuracy") is not None for candidate in summary.candidates):
            found.append(Axis(key=key, label=f"{key} {summary.accuracy}", is_share=True, higher=True))
    return [*found, *(_cost_axis(summary, name, trials) for name in _metrics(trials))]


def _cost_axis(summary: Summary, name: str, trials: list[Trial]) -> Axis:
    metric = METRICS[name]
    largest = max(trial.cost.value(name) or 0 for trial in trials)
    text, worth = next(((text, worth) for text, worth in metric.shown if largest >= worth), metric.shown[-1])
    budget = next((budget for budget in summary.budgets if budget.metric == name), None)
    settings = (trial.cost.setting for trial in trials if trial.cost.value(name) is not None and trial.cost.setting)
    setting = next(settings, "") if metric.has_setting else ""
    return Axis(
        key=name,
        label=f"{metric.noun} in {setting}" if setting else metric.noun,
        unit=text,
        factor=float(Fraction(worth)),
        bound=None if budget is None else float(budget.bound),
        least=summary.least_cost(budget) if budget is not None and name == summary.objective else None,
    )


def _attention(architecture: Architecture) -> float:
    """Returns the share of an architecture's layers that use attention."""
    layers = [layer_letter(layer) for stage in architecture.stages for layer in stage.layers]
    return layers.count("A") / max(1, len(layers))


def _metrics(trials: list[Trial]) -> list[str]:
    names = sorted(METRICS.names(), key=lambda name: (not METRICS[name].additive, name))
    return [name for name in names if any(trial.cost.value(name) is not None for trial in trials)]


def _by_weight(summary: Summary) -> list[Trial]:
    """Returns the complete trials: finalists, then the front, then by score."""
    first = [c.trial for c in summary.candidates if c.trial is not None and c.trial.complete] + summary.front
    rest = sorted(summary.complete, key=lambda trial: (-(trial.score or 0.0), trial.number))
    return list({trial.number: trial for trial in (*first, *rest)}.values())


def _short(value: float | None) -> float | None:
    return float(f"{value:.6g}") if isinstance(value, float) else value


class _Words:
    """Distinct words, each with its place."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, word: str) -> int:
        return self._places.setdefault(word, len(self._places))

    @property
    def known(self) -> list[str]:
        return list(self._places)
