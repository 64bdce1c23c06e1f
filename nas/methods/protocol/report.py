"""What a search method says of itself in a run's report, as plain data; how it is shown is the report's concern."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.budget import Budget
from nas.errors import NasError
from nas.options import METHODS
from nas.run import RunRecord
from nas.run.events import SupernetEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under headers; the columns whose numbers are in `numeric`, from 0, hold figures."""

    headers: tuple[str, ...]
    rows: Sequence[tuple[str | int, ...]]
    numeric: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Accuracies over epochs, plotted into one picture.

    Attributes:
        series: Pairs of epoch and accuracy, by the name of what was measured.
        title: What the picture shows, for those who cannot see it.
    """

    series: Mapping[str, Sequence[tuple[int, float]]]
    x_label: str
    y_label: str
    title: str
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that a reader may want to type next."""

    purpose: str
    words: tuple[str, ...]

    @property
    def line(self) -> str:
        return shlex.join(self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSection:
    """A method's section of the report.

    Attributes:
        paragraphs: Sentences that stand before table and curves.
        progress: How far the method's own phase is, as "epoch 3 of 6 measured", for a run that is not finished.
        commands: What can be done next with what the method trained.
    """

    title: str
    paragraphs: tuple[str, ...]
    table: Table | None = None
    curves: Curves | None = None
    progress: str = ""
    commands: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreMeaning:
    """What a method's scores are.

    Attributes:
        caption: A sentence for a reader who sees scores plotted; may be empty.
        is_accuracy: Whether a score is a share from 0 to 1 and reads as a percentage.
        axis_label: The name of an axis of scores.
    """

    caption: str = ""
    is_accuracy: bool = False
    axis_label: str = "score"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodReport:
    """A method's part of a report.

    Attributes:
        section: What it trained before the search and how that went.
        score_meaning: What its scores are.
        phases: Names of the phases that it goes through before the search.
    """

    section: Callable[[RunRecord], MethodSection | None]
    score_meaning: Callable[[RunRecord], ScoreMeaning]
    phases: tuple[str, ...] = ()


def _nothing_trained(record: RunRecord) -> MethodSection | None:
    method = asked(record).get("method")
    if method not in METHODS:
        return None
    words = f"The method {method} trains no supernet."
    return MethodSection(title="Did the supernet converge?", paragraphs=(words,))


PLAIN_REPORT = MethodReport(section=_nothing_trained, score_meaning=lambda record: ScoreMeaning())
"""Of a method that trains nothing and whose scores are figures without unit, which compare networks of one run."""


def method_report(record: RunRecord) -> MethodReport:
    """Returns the part of a report that the run's method has; that of one that is not registered here is plain."""
    method = str(asked(record).get("method") or "supernet")
    return METHODS[method].load_report() if method in METHODS else PLAIN_REPORT


def asked(record: RunRecord) -> dict[str, Any]:
    """Returns the options as they were asked for, those of the method beside the others."""
    options, own = record.part("options"), record.part("options", "method_options")
    return {**{name: value for name, value in options.items() if name != "method_options"}, **own}


def planned(record: RunRecord) -> dict[str, Any]:
    """Returns the numbers of the plan, those of the method beside the others."""
    plan, own = record.part("plan"), record.part("plan", "method")
    return {**{name: value for name, value in plan.items() if name != "method"}, **own}


def setting(record: RunRecord, name: str) -> Any:
    """Returns what an option was resolved to: the plan's value where it was planned, else what was asked for."""
    value = planned(record).get(name)
    return asked(record).get(name) if value is None else value


def accuracy_name(record: RunRecord) -> str:
    """Returns what a run calls accuracy."""
    return str(asked(record).get("metric") or "accuracy").replace("-", " ")


def budgets(record: RunRecord) -> tuple[Budget, ...]:
    """Returns the budgets of a run, as far as this version knows their metrics."""
    found: list[Budget] = []
    texts = record.manifest.get("budgets") or asked(record).get("budgets")
    for text in texts if isinstance(texts, list) else ():
        try:
            found.append(Budget.parse(str(text)))
        except NasError:
            continue  # a later version's budget: the report can be made without it
    return tuple(found)


def epochs_progress(record: RunRecord) -> str:
    """Returns how many of the planned epochs of a supernet were measured."""
    at = max((event.epoch for event in record.events(SupernetEpoch)), default=0)
    epochs = setting(record, "epochs")
    return f"epoch {at} of {epochs} measured" if epochs else f"epoch {at} measured"
