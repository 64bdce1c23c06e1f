"""The confusion matrix of the best winner, where `nas evaluate` wrote one to its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from nas.methods.protocol.report import Table
from nas.report.summary import Summary

PLACES = ("evaluation.json", "evaluation/evaluation.json")
MOST_CLASSES = 20
"""Classes of a matrix; of more, the most frequent mistakes are listed."""
_MOST_MISTAKES, _MOST_BYTES = 20, 20_000_000


class _Class(msgspec.Struct):
    name: str


class _Evaluation(msgspec.Struct):
    """What is read of an `evaluation.json`; `confusion` has images by true (rows) and predicted class (columns)."""

    accuracy: float
    images: int
    classes: list[_Class]
    confusion: list[list[int]]
    data: str = ""
    split: str = ""

    def __post_init__(self) -> None:
        n = len(self.classes)
        if not n or [len(row) for row in self.confusion] != [n] * n or min(map(min, self.confusion)) < 0:
            raise ValueError("confusion must have a row and a column of counts per class")


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """An evaluation of a network.

    Attributes:
        source: The file, relative to the run.
        matrix: Rows of a true class and its cells: number of images, and their share of the row from 0 to 1; empty if
            there are too many classes.
        mistakes: The most frequent pairs of a true and another predicted class.
        fault: Why the file could not be read; then all else is empty.
    """

    source: str
    accuracy: float = 0.0
    images: int = 0
    data: str = ""
    names: tuple[str, ...] = ()
    matrix: tuple[tuple[str, tuple[tuple[int, float], ...]], ...] = ()
    mistakes: Table | None = None
    fault: str = ""


def confusion_of(summary: Summary) -> Confusion | None:
    """Returns the evaluation in the folder of the best winner; None if there is none."""
    best = next((candidate.path for candidate in summary.winners if candidate.path), None)
    if best is None:
        return None
    path = next((path for place in PLACES if _is_plain(path := summary.path / best / place)), None)
    if path is None:
        return None
    source = f"{best}/{path.relative_to(summary.path / best).as_posix()}"
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
        found = msgspec.json.decode(path.read_bytes(), type=_Evaluation)
    except (OSError, ValueError) as fault:  # also those of msgspec
        return Confusion(source=source, fault=str(fault))
    return _shown(found, source)


def _shown(found: _Evaluation, source: str) -> Confusion:
    names = tuple(each.name for each in found.classes)
    wrong = [
        (count, names[row], names[column])
        for row, counts in enumerate(found.confusion)
        for column, count in enumerate(counts)
        if row != column and count
    ]
    wrong.sort(key=lambda each: -each[0])
    rows = [(actual, predicted, count) for count, actual, predicted in wrong[:_MOST_MISTAKES]]
    matrix = (
        (name, tuple((count, count / max(1, sum(counts))) for count in counts))
        for name, counts in zip(names, found.confusion, strict=True)
    )
    return Confusion(
        source=source,
        accuracy=found.accuracy,
        images=found.images,
        data=", ".join(filter(None, (found.data, found.split))),
        names=names,
        matrix=tuple(matrix) if len(names) <= MOST_CLASSES else (),
        mistakes=Table(headers=("True class", "Predicted", "Images"), rows=rows, numeric=(2,)) if rows else None,
    )


def _is_plain(path: Path) -> bool:
    """Returns whether it is a file of the run itself, and not a link to another."""
    return path.is_file() and not path.is_symlink()
