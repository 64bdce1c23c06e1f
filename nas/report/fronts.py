"""Several runs side by side: their fronts of trained networks, and the hypervolume of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from nas.budget_metrics import METRICS
from nas.errors import RunError
from nas.formats import listing
from nas.options.objectives import front_name
from nas.report.drawing import MARKERS, Look, add_legend, label_axes, new_figure, to_png
from nas.report.hypervolume import hypervolume
from nas.report.pareto import cost_scale
from nas.report.summary import Summary, summarise
from nas.run import atomic_write, read_run
from nas.trial import non_dominated

_BEYOND = 1.1
"""The reference of a cost, as a multiple of the loosest budget or else of the largest cost: at 1, a network that uses
its budget to the full would dominate nothing."""
_SAID = {
    "budgets": "budgets",
    "resolution": "resolutions at which costs are counted",
    "train_resolution": "training resolutions",
    "finalist_epochs": "epochs of finalists",
    "finalists": "numbers of finalists",
}
"""What may differ between runs that are compared, and is then said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontNetwork:
    """A network of a run's front.

    Attributes:
        costs: By the objectives' metrics.
        path: Its exported folder; None for a finalist that was not exported.
    """

    name: str
    test_accuracy: float
    validation_accuracy: float
    costs: dict[str, float]
    path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFront:
    """The front of a run: the trained networks that no other beats in validation accuracy and costs.

    Attributes:
        trained: Number of networks trained and tested.
        hypervolume: Share of the box between the reference point and accuracy 1 at no cost that the front's test
            accuracies and costs dominate.
        seconds: Of the whole run; None if it is not finished.
    """

    run: Path
    method: str
    budgets: tuple[str, ...]
    trained: int
    front: tuple[FrontNetwork, ...]
    hypervolume: float
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fronts:
    """Runs side by side.

    Attributes:
        objectives: The costs beside accuracy.
        reference: The reference point's costs, by metric; its accuracy is 0.
        notes: What differs between the runs beside the method.
        accuracy: What all of them call accuracy.
    """

    objectives: tuple[str, ...]
    reference: dict[str, float]
    runs: tuple[RunFront, ...]
    notes: tuple[str, ...]
    accuracy: str = "accuracy"


def compare_runs(folders: Sequence[str | Path], objectives: Sequence[str] | None = None) -> Fronts:
    """Returns the fronts of runs on the same data, in the given order.

    Args:
        objectives: The costs beside accuracy, of `nas.budget_metrics.METRICS`; None for those of the runs.

    Raises:
        RunError: If a folder is not a run or has no trained network, or the runs cannot be compared: other data or
            another metric of quality, other objectives, a cost that was not measured or was in other settings.
    """
    summaries = [summarise(read_run(folder)) for folder in folders]
    names = tuple(objectives or summaries[0].objectives)
    for summary in summaries:
        _check_same(summaries[0], summary)
        if objectives is None and summary.objectives != names:
            raise RunError(
                f"{summary.path} has the front of {front_name(summary.objectives)}, {summaries[0].path} of "
                f"{front_name(names)}: give one --objective for all."
            )
    _check_settings(summaries, names)
    trained = [_trained(summary, names) for summary in summaries]
    fronts = [_front(each, names) for each in trained]
    reference = {name: _reference(name, summaries, fronts) for name in names}
    return Fronts(
        objectives=names,
        reference=reference,
        runs=tuple(
            RunFront(
                run=summary.path,
                method=str(summary.options.get("method", "")),
                budgets=tuple(map(str, summary.budgets)),
                trained=len(every),
                front=front,
                hypervolume=_hypervolume(front, reference),
                seconds=summary.times.seconds,
            )
            for summary, every, front in zip(summaries, trained, fronts, strict=True)
        ),
        notes=tuple(_notes(summaries)),
        accuracy=summaries[0].accuracy,
    )


# -- what can be compared ------------------------------------------------------------------------------------


def _check_same(first: Summary, other: Summary) -> None:
    a, b = first.record.part("data"), other.record.part("data")
    if not a or not b:  # a run of 0.1 recorded nothing of its data
        a, b = ({"data": each.options.get("data")} for each in (first, other))
    for name in dict.fromkeys([*a, *b]):
        if a.get(name) != b.get(name):
            values = "" if isinstance(a.get(name), str) and name != "data" else f" ({a.get(name)} and {b.get(name)})"
            raise RunError(
                f"{first.path} and {other.path} were made on other data: their {name.replace('_', ' ')} "
                f"differ{values}. Compare runs on the same data."
            )
    if first.accuracy != other.accuracy:
        raise RunError(
            f"{first.path} measured {first.accuracy}, {other.path} {other.accuracy}: compare runs with the same "
            "--metric."
        )


def _check_settings(summaries: Sequence[Summary], objectives: Sequence[str]) -> None:
    """Refuses costs that were measured in other settings."""
    for name in objectives:
        settings = {
            summary.path: {str(budget.setting) for budget in summary.budgets if budget.metric == name}
            for summary in summaries
        }
        first = settings[summaries[0].path]
        for path, own in settings.items():
            if not METRICS[name].additive and own != first:
                raise RunError(
                    f"{summaries[0].path} measured {METRICS[name].noun} at {listing(sorted(first)) or 'no setting'}, "
                    f"{path} at {listing(sorted(own)) or 'no setting'}: give another --objective, such as macs."
                )


def _notes(summaries: Sequence[Summary]) -> list[str]:
    found: list[str] = []
    for name, said in _SAID.items():
        values = [_value(summary, name) for summary in summaries]
        if len(set(values)) > 1:
            each = ", ".join(f"{summary.path} {value}" for summary, value in zip(summaries, values, strict=True))
            found.append(f"The {said} differ: {each}.")
    seeds = {summary.setting("seed") for summary in summaries}
    if len(seeds) > 1 and not summaries[0].record.part("data").get("test_count"):
        found.append("The seeds differ, and test images are split off by the seed: they are not the same images.")
    return found


def _value(summary: Summary, name: str) -> str:
    if name == "budgets":
        return listing(map(str, summary.budgets)) or "none"
    return str(summary.setting(name))


# -- fronts --------------------------------------------------------------------------------------------------


def _trained(summary: Summary, objectives: Sequence[str]) -> list[FrontNetwork]:
    found: list[FrontNetwork] = []
    for each in summary.candidates:
        if each.test_accuracy is None or each.validation_accuracy is None:
            continue
        costs = {name: each.cost(name) for name in objectives}
        lacking = [name for name, cost in costs.items() if cost is None]
        if lacking:
            raise RunError(
                f"{summary.path} did not measure {METRICS[lacking[0]].noun} of its networks: give another --objective, "
                "such as macs."
            )
        found.append(
            FrontNetwork(
                name=each.name,
                test_accuracy=each.test_accuracy,
                validation_accuracy=each.validation_accuracy,
                costs={name: float(cost) for name, cost in costs.items() if cost is not None},
                path=each.path and str(summary.path / each.path),
            )
        )
    if not found:
        raise RunError(f"{summary.path} has no trained network yet: continue it with --resume {summary.path}.")
    return found


def _front(trained: Sequence[FrontNetwork], objectives: Sequence[str]) -> tuple[FrontNetwork, ...]:
    """Returns the networks that no other beats in validation accuracy, by which a run chooses, and costs."""
    placed = sorted(
        ((*(each.costs[name] for name in objectives), -each.validation_accuracy), number)
        for number, each in enumerate(trained)
    )
    return tuple(trained[placed[place][1]] for place in non_dominated([point for point, _ in placed]))


def _reference(metric: str, summaries: Sequence[Summary], fronts: Sequence[Sequence[FrontNetwork]]) -> float:
    """What is beyond all networks: the loosest budget, or the largest cost where a run has no budget on it."""
    bounds = [[float(each.bound) for each in summary.budgets if each.metric == metric] for summary in summaries]
    costs = [] if all(bounds) else [each.costs[metric] for front in fronts for each in front]
    return _BEYOND * max([*(bound for own in bounds for bound in own), *costs])


def _hypervolume(front: Sequence[FrontNetwork], reference: dict[str, float]) -> float:
    points = [
        (1 - each.test_accuracy, *(each.costs[name] / worst for name, worst in reference.items())) for each in front
    ]
    return hypervolume(points, [1.0] * (1 + len(reference)))


# -- the picture ---------------------------------------------------------------------------------------------


def draw_fronts(fronts: Fronts, look: Look | None = None) -> bytes:
    """Plots the fronts: test accuracy against the first cost, one color and marker per run; returns a PNG."""
    look = look or Look()
    figure, axes = new_figure(look)
    metric = fronts.objectives[0]
    factor, unit = cost_scale([each.costs[metric] for run in fronts.runs for each in run.front], (), metric)
    handles: list[Line2D] = []
    for number, run in enumerate(fronts.runs):
        color, marker = look.colors[number % len(look.colors)], MARKERS[number % len(MARKERS)]
        line = "-" if number < len(look.colors) else "--"
        x = [each.costs[metric] / factor for each in run.front]
        y = [each.test_accuracy for each in run.front]
        axes.plot(x, y, linestyle="", marker=marker, color=color, markersize=7)
        if len(fronts.objectives) == 1:  # between two networks of a front, the cheaper one is the best known
            axes.step(x, y, where="post", linestyle=line, color=color, linewidth=1.2)
        label = f"{run.run.name} (hypervolume {run.hypervolume:.4f})"
        handles.append(Line2D([], [], linestyle=line, marker=marker, color=color, label=label))
    axes.margins(x=0.08, y=0.12)
    label_axes(axes, look, x=unit, y=f"test {fronts.accuracy}")
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=" %"))
    add_legend(figure, look, handles, columns=1 if look.narrow else math.ceil(len(handles) / 2))
    return to_png(figure, look)


def write_fronts(fronts: Fronts, path: str | Path) -> Path:
    """Writes the plot of fronts as a PNG; returns its path.

    Raises:
        RunError: If it cannot be written.
    """
    atomic_write(path, draw_fronts(fronts))
    return Path(path)
