"""A search method's section of a run's report, as plain data; `nas/report` renders it."""

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
    """A table; `numeric` has the indices of the numeric columns."""

    headers: tuple[str, ...]
    rows: Sequence[tuple[str | int, ...]]
    numeric: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Accuracies, or other values, over epochs, for one plot.

    Attributes:
        series: Pairs of epoch and accuracy, by the name of what was measured.
        title: Alternative text of the plot.
        shares: Whether the values are shares, shown in percent.
    """

    series: Mapping[str, Sequence[tuple[int, float]]]
    x_label: str
    y_label: str
    title: str
    caption: str
    shares: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that a reader may run next."""

    purpose: str
    words: tuple[str, ...]

    @property
    def line(self) -> str:
        return shlex.join(self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSection:
    """A method's section of the report.

    Attributes:
        paragraphs: Sentences before the table and the curves.
        progress: Progress of the method's own phase in an unfinished run, such as "epoch 3 of 6 measured".
        commands: Commands that use what the method trained.
    """

    title: str
    paragraphs: tuple[str, ...]
    table: Table | None = None
    curves: Curves | None = None
    progress: str = ""
    commands: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreMeaning:
    """The meaning of a method's scores.

    Attributes:
        caption: A sentence for the caption of a plot of scores; may be empty.
        is_accuracy: Whether scores are accuracies from 0 to 1, shown as percentages.
        axis_label: Label of a score axis.
    """

    caption: str = ""
    is_accuracy: bool = False
    axis_label: str = "score"


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How far a phase is, in steps of equal work; `unit` names one in the plural.

    Attributes:
        total: None where it is not known beforehand.
        every: Steps after which they are recorded together.
    """

    done: int
    total: int | None
    unit: str
    every: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodReport:
    """A method's part of a report.

    Attributes:
        section: Returns the section on its training before the search.
        score_meaning: Returns the meaning of its scores.
        phases: Returns the names of its phases before the search.
        steps: Returns how far one of these is; None where that is not on record.
    """

    section: Callable[[RunRecord], MethodSection | None]
    score_meaning: Callable[[RunRecord], ScoreMeaning]
    phases: Callable[[RunRecord], tuple[str, ...]] = lambda record: ()
    steps: Callable[[RunRecord, str], Steps | None] = lambda record, phase: None


def _nothing_trained(record: RunRecord) -> MethodSection | None:
    method = asked(record).get("method")
    if method not in METHODS:
        return None
    words = f"The method {method} trains no supernet."
    return MethodSection(title="Did the supernet converge?", paragraphs=(words,))


PLAIN_REPORT = MethodReport(section=_nothing_trained, score_meaning=lambda record: ScoreMeaning())
"""Report of a method that trains nothing, and whose scores are unitless and comparable only within a run."""


def method_report(record: RunRecord) -> MethodReport:
    """Returns the report part of the run's method, or a plain one if the method is not registered."""
    method = str(asked(record).get("method") or "supernet")
    return METHODS[method].load_report() if method in METHODS else PLAIN_REPORT


def asked(record: RunRecord) -> dict[str, Any]:
    """Returns the options as given, with those of the method."""
    options, own = record.part("options"), record.part("options", "method_options")
    return {**{name: value for name, value in options.items() if name != "method_options"}, **own}


def planned(record: RunRecord) -> dict[str, Any]:
    """Returns the plan as one mapping, with the method's own part."""
    plan, own = record.part("plan"), record.part("plan", "method")
    return {**{name: value for name, value in plan.items() if name != "method"}, **own}


def setting(record: RunRecord, name: str) -> Any:
    """Returns the resolved value of an option: the plan's if it was planned, else the given one."""
    value = planned(record).get(name)
    return asked(record).get(name) if value is None else value


def whole(value: object) -> int | None:
    """Returns a recorded number of steps, None if it is none: a record may hold anything."""
    return value if type(value) is int and value > 0 else None


def accuracy_name(record: RunRecord) -> str:
    """Returns the name of the run's metric."""
    return str(asked(record).get("metric") or "accuracy").replace("-", " ")


def budgets(record: RunRecord) -> tuple[Budget, ...]:
    """Returns the budgets of a run, as far as this version knows their metrics."""
    found: list[Budget] = []
    texts = record.manifest.get("budgets") or asked(record).get("budgets")
    for text in texts if isinstance(texts, list) else ():
        try:
            found.append(Budget.parse(str(text)))
        except NasError:
            continue  # a budget of a later version: the report works without it
    return tuple(found)


def epochs_measured(record: RunRecord, phase: str = "supernet") -> Steps | None:
    """Returns how many of a supernet's planned epochs were measured; None where each block has epochs of its own."""
    events = record.events(SupernetEpoch)
    if any(event.block is not None for event in events):
        return None
    epochs, every = (whole(setting(record, name)) for name in ("epochs", "watch_every"))
    done = max((event.epoch for event in events), default=0)
    return Steps(done=done, total=epochs, unit="epochs", every=every or 1)


def epochs_progress(record: RunRecord) -> str:
    """Returns as text how many of a supernet's planned epochs were measured."""
    at = max((event.epoch for event in record.events(SupernetEpoch)), default=0)
    epochs = setting(record, "epochs")
    return f"epoch {at} of {epochs} measured" if epochs else f"epoch {at} measured"
