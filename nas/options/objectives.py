"""Objectives: the costs that a search minimizes beside the score, and that fronts are over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.budget import Budget, check_budgets
from nas.budget_metrics import METRICS
from nas.errors import OptionError
from nas.options.kinds import Kind, flag
from nas.registry import unknown


@dataclass(frozen=True, slots=True)
class Objectives(Kind):
    """One cost, or several with commas: "latency", "macs,params"."""

    metavar: str = "COST"

    def check(self, name: str, value: object) -> None:
        if not isinstance(value, str):
            raise OptionError(f"{flag(name)} must be a cost such as macs, but got {value!r}.")
        objectives(value, ())


def objectives(text: str | None, budgets: Sequence[Budget]) -> tuple[str, ...]:
    """Returns the metrics that are minimized; None stands for that of the first budget, or else multiply-adds.

    Raises:
        OptionError: If a name is unknown or given twice.
    """
    if text is None:
        return (budgets[0].metric if budgets else "macs",)
    by_short = {METRICS[name].short: name for name in METRICS}
    found = [by_short.get(word.strip(), "") for word in text.split(",")]
    for word, metric in zip(text.split(","), found, strict=True):
        if not metric:
            raise OptionError(unknown("value of --objective", word.strip(), by_short))
        if found.count(metric) > 1:
            raise OptionError(f"--objective {text}: {word.strip()} is given twice. Leave one out.")
    return tuple(found)


def front_name(metrics: Sequence[str], accuracy: str = "accuracy") -> str:
    """Returns what a front is over, for people: "accuracy and MACs", "accuracy, latency and parameters"."""
    *first, last = [accuracy, *("MACs" if metric == "macs" else METRICS[metric].noun for metric in metrics)]
    return f"{', '.join(first)} and {last}"


def check_objectives(text: str | None, budgets: Sequence[str]) -> None:
    """Refuses an objective that no trial would have a figure of.

    Raises:
        OptionError: If a metric is measured and no budget says in which setting.
    """
    parsed = check_budgets(budgets)
    for metric in objectives(text, parsed):
        if not METRICS[metric].additive and all(budget.metric != metric for budget in parsed):
            short = METRICS[metric].short
            example = {"latency": "--budget 8ms@cpu", "memory": "--budget 200MB"}.get(short, "a --budget on it")
            raise OptionError(f"--objective {short} is measured where a budget bounds it: add {example}.")
