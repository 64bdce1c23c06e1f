"""Plot of accuracies, or losses, over epochs; and the training curves of a run's finalists."""

from __future__ import annotations

from matplotlib.artist import Artist
from matplotlib.ticker import MaxNLocator, PercentFormatter

from nas.methods.protocol.report import Curves
from nas.report.drawing import Look, add_legend, label_axes, new_figure, to_png
from nas.run import RunRecord
from nas.run.events import FinalistEpoch, FinalistTrained

_MOST = 8
"""Finalists that are drawn: those most accurate in the end."""
_STYLES = ("-", "--", "-.", ":")


def draw_curves(curves: Curves, look: Look | None = None) -> bytes:
    """Plots values over epochs, one line per series; returns a PNG."""
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
    if curves.shares:
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=" %"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_axes(axes, look, x=curves.x_label, y=curves.y_label)
    add_legend(figure, look, handles, columns=2 if look.narrow else 4)
    return to_png(figure, look)


def training_curves(record: RunRecord) -> list[Curves]:
    """Returns the search-validation accuracy and the training loss of the finalists over their epochs, if recorded.

    Accuracies are known after some epochs only, and at the end of a training.
    """
    trained = {event.digest: event for event in record.events(FinalistTrained)}
    accuracies: dict[str, dict[int, float]] = {}
    losses: dict[str, dict[int, float]] = {}
    for event in record.events(FinalistEpoch):
        accuracies.setdefault(event.digest, {})
        if event.validation_accuracy is not None:
            accuracies[event.digest][event.epoch] = event.validation_accuracy
        if event.loss is not None:
            losses.setdefault(event.digest, {})[event.epoch] = event.loss
    for digest, event in trained.items():
        if event.epochs is not None:
            accuracies.setdefault(digest, {})[event.epochs] = event.validation_accuracy
    numbers = {event.digest: event.number for event in trained.values()}
    order = sorted(accuracies, key=lambda digest: -max(accuracies[digest].values(), default=0.0))[:_MOST]
    names = {digest: f"trial {numbers[digest]}" if digest in numbers else digest[:6] for digest in order}
    few = f" of the best {_MOST}" if len(accuracies) > _MOST else ""
    found: list[Curves] = []
    for values, what, caption, shares in (
        (accuracies, "search-validation accuracy", "Measured after some epochs, and at the end.", True),
        (losses, "training loss", "The mean over each epoch, with label smoothing.", False),
    ):
        series = {names[digest]: sorted(values[digest].items()) for digest in order if len(values.get(digest, ())) > 1}
        if series:
            title = f"{what.capitalize()}{few or ' of the finalists'} over their training"
            found.append(
                Curves(series=series, x_label="epoch", y_label=what, title=title, caption=caption, shares=shares)
            )
    return found
