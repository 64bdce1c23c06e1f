"""The epochs of one training as files: `history.json`, `metrics.csv`, `training.html` with its curves and, with
tensorboard installed, its scalars.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from nas.report.training_page import render_training
from nas.run import atomic_write
from nas.training.checkpoint import newest

HISTORY, METRICS, PAGE, SCALARS = "history.json", "metrics.csv", "training.html", "tensorboard"
_COLUMNS = {
    "epoch": "epoch",
    "train_loss": "loss",
    "learning_rate": "learning_rate",
    "validation_accuracy": "validation_accuracy",
    "validation_loss": "validation_loss",
    "current_validation_accuracy": "current_validation_accuracy",
    "current_validation_loss": "current_validation_loss",
    "seconds": "seconds",
}
"""The columns of `metrics.csv`, and what they are called in a row of `train_network`.

The current weights' are empty without an average of the weights, which the other two are then of.
"""


class TrainingCurve:
    """The per-epoch rows of a training, stored so that a resumed training has the earlier ones.

    Args:
        folder: The training's; its checkpoints are in `checkpoints`.
        metric: What the rows' `validation_accuracy` is.

    Attributes:
        rows: One per epoch, as `train_network` gives them.
    """

    def __init__(self, folder: Path, *, metric: str) -> None:
        self._folder, self._metric = folder, metric
        self.rows: list[dict[str, Any]] = []
        # Without checkpoints the file belongs to another training.
        if (folder / HISTORY).exists() and newest(folder / "checkpoints") is not None:
            with suppress(OSError, ValueError, KeyError, TypeError):
                self.rows = list(json.loads((folder / HISTORY).read_text())["history"])

    def add(self, row: dict[str, Any]) -> None:
        """Adds an epoch; a repeated epoch replaces its row."""
        self.rows = [known for known in self.rows if known["epoch"] < row["epoch"]] + [row]
        atomic_write(self._folder / HISTORY, json.dumps({"format": 1, "history": self.rows}) + "\n")
        atomic_write(self._folder / METRICS, _table(self.rows))
        name = self._folder.resolve().name
        atomic_write(self._folder / PAGE, render_training(name, self.rows, metric=self._metric))
        if importlib.util.find_spec("tensorboard") is not None:
            self._write_scalars(row)

    def _write_scalars(self, row: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What an interrupted training wrote of this epoch and later ones is no longer shown.
        with SummaryWriter(self._folder / SCALARS, purge_step=row["epoch"]) as writer:
            for column, name in _COLUMNS.items():
                if column != "epoch" and row.get(name) is not None:
                    writer.add_scalar(column, row[name], row["epoch"])


def _table(rows: list[dict[str, Any]]) -> str:
    """Returns rows as CSV; what an epoch lacks is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([row.get(name) for name in _COLUMNS.values()] for row in rows)
    return text.getvalue()
