"""The files of an evaluation: the confusion matrix as a picture and as CSV, the classes as CSV, all figures as JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path

from nas.inference.confusion import draw_confusion
from nas.inference.evaluation import Evaluation, Figures
from nas.run.files import atomic_write, make_folder


def write_evaluation(folder: Path, evaluation: Evaluation) -> list[Path]:
    """Writes the files to a folder, which is made where it is not there; returns their paths.

    Raises:
        RunError: If the disk refuses.
    """
    make_folder(folder)
    plain = {"format": 1, **evaluation.to_dict()}
    contents: dict[str, bytes | str] = {
        "confusion.png": draw_confusion(evaluation),
        "confusion.csv": confusion_csv(evaluation.figures),
        "classes.csv": classes_csv(evaluation.figures),
        "evaluation.json": json.dumps(plain, ensure_ascii=False, indent=1) + "\n",
    }
    for name, content in contents.items():
        atomic_write(folder / name, content)
    return [folder / name for name in contents]


def confusion_csv(figures: Figures) -> str:
    """Returns images by true class, a row each, and predicted class, a column each."""
    names = [each.name for each in figures.classes]
    rows = [[name, *counts] for name, counts in zip(names, figures.confusion, strict=True)]
    return _csv([["true class", *names], *rows])


def classes_csv(figures: Figures) -> str:
    """Returns a row per class; a share of nothing is left empty."""
    rows = [[each.name, each.images, each.recall, each.precision] for each in figures.classes]
    return _csv([["class", "images", "recall", "precision"], *rows])


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
