"""`training.html`: loss, accuracy and learning rate of one training over its epochs, drawn as in a run's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas.formats import duration, percent
from nas.report.curves import Chart
from nas.report.rendering import environment, page_parts

_SCRIPTS = ("elements.js", "curves.js", "jobs.js", "training.js")
AVERAGED, CURRENT = "averaged weights (EMA)", "current weights"
_LOSS_CAPTION = (
    "The training loss is that of the recipe, with its label smoothing, mixed images and teacher; the validation loss "
    "is plain cross-entropy"
)


def render_training(name: str, rows: Sequence[Mapping[str, Any]], *, metric: str) -> str:
    """Returns the whole page of one training; text in it is escaped.

    Args:
        name: The training's, as its heading.
        rows: One per epoch, in order, as `nas.training.train_network` gives them.
        metric: What its `validation_accuracy` is.
    """
    charts = [chart.to_dict() for chart in training_charts(rows, metric=metric)]
    return environment().get_template("training_page.html.j2").render(
        name=name, subtitle=_subtitle(rows, metric), parts=page_parts(_SCRIPTS), data={"charts": charts}
    )  # fmt: skip


def training_charts(rows: Sequence[Mapping[str, Any]], *, metric: str) -> list[Chart]:
    """Returns the charts of loss, metric and learning rate, each with the curves that the rows have.

    With an average of the weights, its metric and loss stand beside those of the current weights.
    """
    averaged = any(row.get("current_validation_accuracy") is not None for row in rows)
    validation = f"validation, {AVERAGED}" if averaged else "validation"
    current = f"validation, {CURRENT}"
    wanted = (
        ("Loss", _LOSS_CAPTION, "loss", False, {
            validation: "validation_loss", current: "current_validation_loss", "training": "loss",
        }),
        (f"Validation {metric}", "", metric, True, {
            validation: "validation_accuracy", current: "current_validation_accuracy",
        }),
        ("Learning rate", "At the last step of each epoch, at its highest over the layers", "learning rate", False, {
            "learning rate": "learning_rate",
        }),
    )  # fmt: skip
    found = (
        Chart(
            title=title, caption=caption, x_label="epoch", y_label=label, is_share=share, series=_series(rows, columns)
        )
        for title, caption, label, share, columns in wanted
    )
    return [chart for chart in found if chart.series]


def _series(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> dict[str, list[tuple[int, float]]]:
    """Returns the curves by name; epochs that lack a figure are left out, and so are curves without any."""
    curves = {
        name: [(row["epoch"], row[column]) for row in rows if row.get(column) is not None]
        for name, column in columns.items()
    }
    return {name: curve for name, curve in curves.items() if curve}


def _subtitle(rows: Sequence[Mapping[str, Any]], metric: str) -> str:
    if not rows:
        return "No epoch is finished yet"
    last = rows[-1]
    best = max((row for row in rows if row.get("validation_accuracy") is not None), default=None, key=_accuracy)
    parts = [f"{last['epoch']} of {last['epochs']} epochs in {duration(last['seconds'])}"]
    if best is not None:
        parts.append(f"best validation {metric} {percent(_accuracy(best))}, after epoch {best['epoch']}")
    return " · ".join(parts)


def _accuracy(row: Mapping[str, Any]) -> float:
    return float(row["validation_accuracy"])
