"""Plot of accuracies over epochs."""

from __future__ import annotations

from matplotlib.artist import Artist
from matplotlib.ticker import MaxNLocator, PercentFormatter

from nas.methods.protocol.report import Curves
from nas.report.drawing import Look, add_legend, label_axes, new_figure, to_png

_STYLES = ("-", "--", "-.", ":")


def draw_curves(curves: Curves, look: Look | None = None) -> bytes:
    """Plots accuracies over epochs, one line per series; returns a PNG."""
    look = look or Look()
    figure, axes = new_figure(look)
    handles: list[Artist] = []
    for i, (name, series) in enumerate(curves.series.items()):
        handles += axes.plot(
            [epoch for epoch, _ in series],
            [accuracy for _, accuracy in series],
            color=look.colors[i % len(look.colors)],
            linestyle=_STYLES[i % len(_STYLES)],
            linewidth=1.8,
            marker="o" if len(series) <= 12 else "",
            markersize=4,
            label=name,
        )
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=" %"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_axes(axes, look, x=curves.x_label, y=curves.y_label)
    add_legend(figure, look, handles, columns=2 if look.narrow else 4)
    return to_png(figure, look)
