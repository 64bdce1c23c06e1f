"""What a search method says of itself in a run's report, as plain data; how it is shown is the report's concern.

Every method has two functions of a run's record: `section`, what it trained before the search and how that went, and
`score_meaning`, what its scores are.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.budget import Budget
from nas.errors import NasError
from nas.run import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under headers; the columns whose numbers are in `numeric`, from 0, hold figures."""

    headers: tuple[str, ...]
    rows: Sequence[tuple[str | int, ...]]
    numeric: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Accuracies over epochs, to be drawn into one picture.

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


def without_supernet(scorer: str) -> MethodSection:
    """Returns the section of a method that trains nothing."""
    return MethodSection(title="Did the supernet converge?", paragraphs=(f"The scorer {scorer} trains no supernet.",))


def asked(record: RunRecord) -> Mapping[str, Any]:
    """Returns the options as they were asked for."""
    return record.manifest.get("options", {})


def setting(record: RunRecord, name: str) -> Any:
    """Returns what an option was resolved to: the plan's value where it was planned, else what was asked for."""
    planned = record.manifest.get("plan", {}).get(name)
    return asked(record).get(name) if planned is None else planned


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
    at = max((event["epoch"] for event in record.events("curve")), default=0)
    planned = setting(record, "epochs")
    return f"epoch {at} of {planned} measured" if planned else f"epoch {at} measured"
