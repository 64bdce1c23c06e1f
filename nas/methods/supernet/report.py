"""The supernet in a run's report: convergence, the meaning of its scores, and how to reuse it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nas.formats import count, listing, percent, points
from nas.methods.protocol.parent_line import parent_line
from nas.methods.protocol.phases import is_finished
from nas.methods.protocol.report import (
    Command,
    Curves,
    MethodReport,
    MethodSection,
    ScoreMeaning,
    Steps,
    accuracy_name,
    asked,
    budgets,
    epochs_measured,
    epochs_progress,
    planned,
    whole,
)
from nas.run import RunRecord
from nas.run.events import DistillationEpoch, ParentEpoch, ParentInherited, SupernetEpoch
from nas.run.schema import check_fields

_TITLE = "Did the supernet converge?"
_LEAST = 4  # least number of measurements for a statement on convergence
# The curve counts as level if its change over the last quarter is below either of these: one point of accuracy is
# about the sampling error on a thousand images, and a tenth of the whole gain is small.
_LEVEL_POINTS, _LEVEL_SHARE = 0.01, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Accuracies with shared weights after an epoch of the supernet, by the name of the network."""

    epoch: int
    accuracies: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Low:
    """The part of the coverage that is read: the lower bound per metric."""

    low: dict[str, float]


def section(record: RunRecord) -> MethodSection:
    """Returns the training curve and its interpretation, or the source run of a reused supernet."""
    source, commands = record.part("method", "reused"), _commands(record)
    if source:
        run = source.get("source_run", "?")
        words = f"It was not trained here: it is the supernet of {run}, whose page has its curve."
        return MethodSection(title=_TITLE, paragraphs=(words,), commands=commands)
    curve = [measured for measured in measurements(record) if measured.accuracies]
    progress = epochs_progress(record)
    if not curve:
        words = "Nothing was measured of the supernet's training yet."
        return MethodSection(title=_TITLE, paragraphs=(words,), progress=progress, commands=commands)
    series = {name: [(m.epoch, m.accuracies[name]) for m in curve if name in m.accuracies] for name in _names(curve)}
    curves = Curves(
        series=series,
        x_label="epoch of the supernet",
        y_label=f"validation {accuracy_name(record)}",
        title="Accuracy over the supernet's epochs",
        caption="Accuracy with shared weights of the same few networks, on the search's validation images, "
        "while the supernet was trained.",
    )
    said = (*parent_lines(record), *convergence(curve, ended=is_finished(record, "supernet")))
    return MethodSection(title=_TITLE, paragraphs=said, curves=curves, progress=progress, commands=commands)


def parent_lines(record: RunRecord) -> list[str]:
    """Returns sentences on the parent that the supernet began with, if any."""
    begun = record.last(ParentInherited)
    if begun is None:
        return []
    fresh = f"; {count(begun.fresh, 'tensor')} of layers that it does not have began at random" if begun.fresh else ""
    parent = parent_line(record, in_percent=True)
    return [f"{parent} The supernet began with its weights, and all learned from its soft labels{fresh}."]


def score_meaning(record: RunRecord) -> ScoreMeaning:
    """Returns the meaning of a score with shared weights, by the scorer."""
    if asked(record).get("scorer") == "loss":
        return ScoreMeaning(
            caption="A score is the mean logarithm of the right class's probability on the search's validation images, "
            "with the supernet's shared weights; the best possible is 0."
        )
    return ScoreMeaning(
        caption="A score is the accuracy on the search's validation images with the supernet's shared weights; "
        "a network does better after a training of its own.",
        is_accuracy=True,
        axis_label=f"score: {accuracy_name(record)} with shared weights",
    )


def measurements(record: RunRecord) -> list[Measurement]:
    """Returns the training curve; for epochs repeated after a stop, the later measurement."""
    latest = {(event.epoch, event.step): event for event in record.events(SupernetEpoch)}
    return [
        Measurement(epoch=epoch, accuracies=event.accuracies)
        for (epoch, _), event in sorted(latest.items(), key=lambda item: item[0])
    ]


def convergence(curve: Sequence[Measurement], *, ended: bool = True) -> list[str]:
    """Returns sentences on the curve: whether it still rises, and whether larger networks are more accurate.

    Args:
        ended: Whether the supernet's training is finished; only then is there advice on its length.
    """
    names = _names(curve)
    measured = [each for each in curve if all(name in each.accuracies for name in names)]
    if not names or len(measured) < _LEAST:
        return [f"Measured {count(len(measured), 'time')} so far: too few to say whether it converges."]
    last, first = measured[-1], measured[0]
    since = measured[-1 - max(1, len(measured) // 4)]
    change = _mean(last, names) - _mean(since, names)
    gained = _mean(last, names) - _mean(first, names)
    each = listing(f"{name} {points(last.accuracies[name] - since.accuracies[name])}" for name in names)
    sentences = [
        f"From epoch {since.epoch} to {last.epoch} the mean of these {len(names)} networks "
        f"changed by {points(change)} ({each}), and since epoch {first.epoch} by {points(gained)}."
    ]
    level = max(_LEVEL_POINTS, _LEVEL_SHARE * abs(gained))
    if change > level:
        advice = "It was still rising: more --epochs are likely to make the scores better."
        sentences.append(advice if ended else "It is still rising.")
    elif change < -level:
        sentences.append("It is falling: the accuracies were better before, as with too high a learning rate.")
    else:
        advice = "It has levelled off: more --epochs are unlikely to change much."
        sentences.append(advice if ended else "It is level at the moment.")
    return sentences + _size_pays(last)


def _size_pays(last: Measurement) -> list[str]:
    largest, smallest = last.accuracies.get("largest"), last.accuracies.get("smallest")
    if largest is None or smallest is None:
        return []
    figures = f"the largest network is at {percent(largest)} and the smallest at {percent(smallest)}"
    if largest < smallest:
        return [f"At epoch {last.epoch} {figures}: a lower accuracy of the largest suggests too little training."]
    return [f"At epoch {last.epoch} {figures}."]


def _names(curve: Sequence[Measurement]) -> list[str]:
    return list(dict.fromkeys(name for each in curve for name in each.accuracies))


def _mean(measured: Measurement, names: Sequence[str]) -> float:
    return sum(measured.accuracies[name] for name in names) / len(names)


def _commands(record: RunRecord) -> tuple[Command, ...]:
    """Returns the command to search a lower budget with this supernet, if it is trained and covers one."""
    asked_for = budgets(record)
    if not is_finished(record, "supernet") or len(asked_for) != 1 or record.last(ParentInherited) is not None:
        return ()
    if not record.is_repeatable:
        return ()
    (budget,) = asked_for
    low = record.part("method", "coverage", "low")
    check_fields(_Low, {"low": low}, record.path)
    least = low.get(budget.metric)
    share = max(0.75, 1.2 * least / budget.bound) if least else 1.0
    if share > 0.95:
        return ()
    lower = replace(budget, bound=budget.bound * share)
    space = str(asked(record).get("space", "coatnet"))
    words = ("nas-search", "--space", space, "--budget", str(lower), "--supernet", str(record.path))
    purpose = "Search below this budget with the same supernet, without training one again:"
    return (Command(purpose=purpose, words=words),)


def phases(record: RunRecord) -> tuple[str, ...]:
    """Returns the phases before the search: with a parent, also those in which it is trained, and then teaches."""
    parent = ("parent",) if record.part("method", "parent") else ()
    learned = ("distillation",) if planned(record).get("layer_epochs") else ()
    return (*parent, *learned, "supernet")


def steps(record: RunRecord, phase: str) -> Steps | None:
    """Returns how far one of them is."""
    if phase == "supernet":
        return epochs_measured(record)
    name, events = (
        ("parent_epochs", record.events(ParentEpoch))
        if phase == "parent"
        else ("layer_epochs", record.events(DistillationEpoch))
    )
    done, total = max((event.epoch for event in events), default=0), whole(planned(record).get(name))
    return Steps(done=done, total=total, unit="epochs")


REPORT = MethodReport(section=section, score_meaning=score_meaning, phases=phases, steps=steps)
