"""Plot of the Pareto front: score against cost, trials colored by layout, the budget and its least share."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter

from nas.budget import Budget, format_quantity
from nas.budget_metrics import METRICS
from nas.report.drawing import MARKERS, OTHERS, Look, add_legend, label_axes, new_figure, to_png
from nas.report.summary import Summary, summarise
from nas.run import atomic_write, read_run
from nas.trial import Trial, pareto_front

__all__ = ["PNG", "draw_pareto", "pareto_front", "write_pareto"]

PNG = "pareto.png"
# The ranks that are labeled, each at another corner of its ring, since winners lie close together.
_RANK_PLACES = {1: (7, 7), 2: (-15, 7), 3: (7, -14)}
_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def write_pareto(run: str | Path) -> Path:
    """Rebuilds `pareto.png` of a run from its events; returns its path.

    Raises:
        RunError: If it is not a run, is damaged, or cannot be written to.
    """
    summary = summarise(read_run(run))
    return save_pareto(summary, summary.path)


def save_pareto(summary: Summary, folder: Path) -> Path:
    """Writes the plot to a folder; returns its path."""
    atomic_write(folder / PNG, draw_pareto(summary))
    return folder / PNG


def draw_pareto(summary: Summary, look: Look | None = None) -> bytes:
    """Plots score against the objective's cost; returns a PNG.

    Complete trials are colored by layout, the front is a line, finalists are ringed (the first winners with their
    rank), and the budget is a vertical line next to the shaded range of costs that the search uses.
    """
    look = look or Look()
    figure, axes = new_figure(look)
    objective = summary.objective
    shown = [trial for trial in summary.complete if trial.cost.value(objective) is not None]
    factor, unit = cost_scale([_cost(trial, objective) for trial in shown], summary.budgets, objective)
    sampled = len(summary.complete) < summary.tally.complete
    handles = _draw_trials(axes, shown, objective, factor, look, sampled=sampled)
    if summary.front:
        handles.append(_draw_front(axes, summary, factor, look))
    handles += _draw_candidates(axes, summary, factor, look)
    handles += _draw_budget(axes, summary, factor, look)
    axes.margins(x=0.06, y=0.1)
    label_axes(axes, look, x=unit, y=summary.score_meaning.axis_label)
    if summary.score_meaning.is_accuracy:
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=" %"))
    if not shown:
        axes.text(
            0.5, 0.5, "no trial is complete yet", transform=axes.transAxes, ha="center", color=look.ink,
            fontsize=look.points,
        )  # fmt: skip
    add_legend(figure, look, handles, columns=2 if look.narrow else 5)
    return to_png(figure, look)


def _cost(trial: Trial, objective: str) -> float:
    cost = trial.cost.value(objective)
    assert cost is not None
    return float(cost)


def cost_scale(costs: list[float], budgets: tuple[Budget, ...], objective: str) -> tuple[float, str]:
    """Returns the factor to divide costs by, and the axis label with that unit."""
    largest = max([*costs, *(float(b.bound) for b in budgets if b.metric == objective)], default=1.0)
    factor, prefix = next(((f, p) for f, p in _SCALES if largest >= f), _SCALES[-1])
    if objective == "macs":
        return factor, f"multiply-adds of one image ({prefix}MACs)"
    if objective == "params":
        return factor, f"parameters ({prefix})" if prefix else "parameters"
    if objective == "latency_s":
        return 1e-3, "latency (ms)"
    if objective == "memory_bytes":
        return factor, f"memory ({prefix}B)"
    return factor, f"{METRICS[objective].noun} ({prefix})" if prefix else METRICS[objective].noun


def _draw_trials(
    axes: Axes, trials: list[Trial], objective: str, factor: float, look: Look, *, sampled: bool
) -> list[Artist]:
    """Draws the trials; their numbers by layout stand in the legend unless they are a part of all."""
    counts = Counter(trial.layout for trial in trials)
    named = sorted(layout for layout, _ in counts.most_common(len(MARKERS)))
    markers = dict(zip(named, zip(look.colors, MARKERS, strict=True), strict=False))
    handles: list[Artist] = []
    for layout in [*named, None]:
        group = [t for t in trials if t.layout == layout or (layout is None and t.layout not in markers)]
        if not group:
            continue
        color, marker = markers.get(layout, OTHERS) if layout is not None else OTHERS
        name = "other layouts" if layout is None else layout.lstrip("_") or "no layout"
        x = [_cost(trial, objective) / factor for trial in group]
        axes.scatter(
            x,
            [t.score or 0.0 for t in group],
            s=24,
            c=color,
            marker=marker,
            alpha=0.75 if look.dark else 0.55,
            linewidths=0,
            zorder=2,
        )
        handles.append(
            Line2D(
                [],
                [],
                linestyle="",
                marker=marker,
                color=color,
                markersize=6,
                label=name if sampled else f"{name} ({len(group)})",
            )
        )
    return handles


def _draw_front(axes: Axes, summary: Summary, factor: float, look: Look) -> Artist:
    x = [_cost(trial, summary.objective) / factor for trial in summary.front]
    y = [trial.score or 0.0 for trial in summary.front]
    # A step line: between two networks of the front, the cheaper one is the best known.
    axes.step(x, y, where="post", color=look.ink, linewidth=1.3, zorder=3)
    axes.plot(x, y, linestyle="", marker=".", color=look.ink, markersize=5, zorder=3)
    return Line2D([], [], color=look.ink, linewidth=1.3, marker=".", label="Pareto front")


def _draw_candidates(axes: Axes, summary: Summary, factor: float, look: Look) -> list[Artist]:
    placed = [
        (candidate, cost / factor, candidate.score)
        for candidate in summary.candidates
        if candidate.score is not None and (cost := candidate.cost(summary.objective)) is not None
    ]
    if not placed:
        return []
    ring = {
        "markersize": 11.0,
        "markeredgewidth": 1.6,
        "markeredgecolor": look.ink,
        "markerfacecolor": "none",
    }
    axes.plot([x for _, x, _ in placed], [y for _, _, y in placed], linestyle="", marker="o", zorder=4, **ring)
    for candidate, x, y in placed:
        if candidate.rank in _RANK_PLACES:
            text = axes.annotate(
                str(candidate.rank),
                (x, y),
                xytext=_RANK_PLACES[candidate.rank],
                textcoords="offset points",
                color=look.ink,
                fontsize=look.points + 1,
                fontweight="bold",
                zorder=5,
            )
            text.set_path_effects([withStroke(linewidth=3, foreground=look.background)])
    numbered = any(candidate.rank is not None for candidate, _, _ in placed)
    label = "finalist (number: rank)" if numbered else "finalist"
    return [Line2D([], [], linestyle="", marker="o", label=label, **ring)]


def _draw_budget(axes: Axes, summary: Summary, factor: float, look: Look) -> list[Artist]:
    budget = next((b for b in summary.budgets if b.metric == summary.objective), None)
    if budget is None:
        return []
    bound = budget.bound / factor
    axes.axvline(bound, color=look.ink, linestyle="--", linewidth=1.2, zorder=1)
    label = f"budget, {format_quantity(budget.metric, budget.bound)}"
    handles: list[Artist] = [Line2D([], [], color=look.ink, linestyle="--", linewidth=1.2, label=label)]
    least = summary.least_cost(budget)
    if least is not None:
        axes.axvspan(least / factor, bound, color=look.ink, alpha=0.07, linewidth=0, zorder=0)
        share = f"at least {least / budget.bound:.0%} of the budget"
        handles.append(Patch(color=look.ink, alpha=0.12, linewidth=0, label=share))
    return handles
