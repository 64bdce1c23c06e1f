"""The confusion matrix as a picture."""

from __future__ import annotations

import warnings

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from nas.inference.evaluation import Evaluation
from nas.report.drawing import Look, label_axes, new_figure, to_png
from nas.texts import printable

MOST_NAMES, MOST_COUNTS = 60, 30
"""So many classes at most have their names at the axes, and their numbers of images in the cells."""
_LONGEST = 20


def draw_confusion(evaluation: Evaluation, look: Look | None = None) -> bytes:
    """Returns a PNG: true classes down, predicted ones across, colored by the share of a true class's images."""
    look = look or Look()
    figures = evaluation.figures
    counts = np.array(figures.confusion)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axes = new_figure(look)
    side = min(5.2 + 0.28 * len(counts), 16.0)
    figure.set_size_inches(side * 1.08, side)
    axes.grid(visible=False)
    if len(counts) <= MOST_NAMES:
        edges = np.arange(len(counts) + 1) - 0.5
        axes.set_xticks(edges, minor=True)
        axes.set_yticks(edges, minor=True)
        axes.tick_params(which="minor", length=0)
        axes.grid(visible=True, which="minor", color=look.faint, linewidth=0.6)
        axes.set_axisbelow(False)
    colors = LinearSegmentedColormap.from_list("share", [look.background, look.colors[0]])
    picture = axes.imshow(shares, cmap=colors, vmin=0, vmax=1, interpolation="nearest")
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, label="share of the true class's images")
    bar.outline.set_edgecolor(look.faint)
    bar.ax.tick_params(colors=look.ink, labelsize=look.points)
    bar.ax.yaxis.label.set(color=look.ink, fontsize=look.points)
    label_axes(axes, look, x="predicted class", y="true class")
    error = f"{100 * figures.accuracy:.1f} ± {100 * figures.accuracy_error:.1f} %"
    title = f"{_short(evaluation.data, 40)}: accuracy {error} of {figures.images:,} images"
    axes.set_title(title, color=look.ink, fontsize=look.points + 1, parse_math=False)
    if len(counts) <= MOST_NAMES:
        _name(axes, [each.name for each in figures.classes], look)
    if len(counts) <= MOST_COUNTS:
        _write_counts(axes, counts, shares, look)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scripts that the font lacks, whose letters are boxes; the CSV has them
        return to_png(figure, look)


def _name(axes: Axes, names: list[str], look: Look) -> None:
    shown = [_short(name, _LONGEST) for name in names]
    size = look.points if len(names) <= MOST_COUNTS else look.points - 3
    turned = max(map(len, shown)) > 3
    axes.set_xticks(range(len(names)), shown, rotation=45 if turned else 0, ha="right" if turned else "center")
    axes.set_yticks(range(len(names)), shown)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set(fontsize=size, parse_math=False, rotation_mode="anchor")


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray, look: Look) -> None:
    size = look.points if len(counts) <= 12 else look.points - 3
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = look.background if shares[row, column] > 0.5 else look.ink
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=color, fontsize=size)


def _short(text: str, most: int) -> str:
    text = printable(text)
    return text if len(text) <= most else text[: most - 1] + "…"
