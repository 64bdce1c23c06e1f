"""Whether the supernet converged: its training curve as a picture and in words."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.ticker import MaxNLocator, PercentFormatter

from nas.report.drawing import Look, add_legend, label_axes, new_figure, to_png
from nas.report.summary import Summary
from nas.report.words import count, listing, percent, points
from nas.run.events import SupernetEpoch

_LEAST = 4  # measurements below which nothing is said about convergence
_STYLES = ("-", "--", "-.", ":")
# A change over the last quarter that is below either of these is called level: one point of accuracy is about
# what a measurement on a thousand images may be off by chance, and a tenth of the whole gain is a slow end.
_LEVEL_POINTS, _LEVEL_SHARE = 0.01, 0.1


def draw_curve(summary: Summary, look: Look | None = None) -> bytes:
    """Accuracy of the networks that were watched, over the supernet's epochs, as a PNG."""
    look = look or Look()
    figure, axes = new_figure(look)
    handles: list[Artist] = []
    for i, name in enumerate(_names(summary.curve)):
        series = [(c.epoch, accuracy) for c in summary.curve if (accuracy := _at(c, name)) is not None]
        handles += axes.plot(
            [epoch for epoch, _ in series],
            [accuracy for _, accuracy in series],
            color=look.colours[i % len(look.colours)],
            linestyle=_STYLES[i % len(_STYLES)],
            linewidth=1.8,
            marker="o" if len(series) <= 12 else "",
            markersize=4,
            label=name,
        )
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=" %"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_axes(axes, look, x="epoch of the supernet", y=f"validation {summary.accuracy}")
    add_legend(figure, look, handles, columns=2 if look.narrow else 4)
    return to_png(figure, look)


def convergence(curve: Sequence[SupernetEpoch], *, ended: bool = True) -> list[str]:
    """What the curve says, one sentence each: whether it still rises, and whether size pays.

    Args:
        ended: Whether the supernet's training is over, so that advice on its length makes sense.
    """
    names = _names(curve)
    measured = [c for c in curve if all(_at(c, name) is not None for name in names)]
    if not names or len(measured) < _LEAST:
        return [f"Measured {count(len(measured), 'time')} so far: too few to say whether it converges."]
    last, first = measured[-1], measured[0]
    since = measured[-1 - max(1, len(measured) // 4)]
    change = _mean(last, names) - _mean(since, names)
    gained = _mean(last, names) - _mean(first, names)
    each = listing(f"{name} {points((_at(last, name) or 0) - (_at(since, name) or 0))}" for name in names)
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


def _size_pays(last: SupernetEpoch) -> list[str]:
    largest, smallest = _at(last, "largest"), _at(last, "smallest")
    if largest is None or smallest is None:
        return []
    epoch = last.epoch
    figures = f"the largest network is at {percent(largest)} and the smallest at {percent(smallest)}"
    if largest < smallest:
        return [f"At epoch {epoch} {figures}: the largest being behind is a sign of too little training."]
    return [f"At epoch {epoch} {figures}."]


def _names(curve: Sequence[SupernetEpoch]) -> list[str]:
    return list(dict.fromkeys(name for point in curve for name in point.accuracies))


def _at(point: SupernetEpoch, name: str) -> float | None:
    return point.accuracies.get(name)


def _mean(point: SupernetEpoch, names: Sequence[str]) -> float:
    return sum(_at(point, name) or 0.0 for name in names) / len(names)
