"""Truth tables: CSV files of architectures and their known accuracies."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.errors import DataError, OptionError
from nas.registry import closest

# What tables call their accuracy, in the order in which it is looked for.
TRUTH_NAMES = ("test_accuracy", "cifar10_test", "accuracy", "top1")
ARCHITECTURE_NAMES = ("architecture", "arch", "arch_json")
MOST_BYTES = 512 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthTable:
    """A CSV file's columns as text, all of one length.

    Attributes:
        lines: Of the file, on which the rows end.
    """

    path: Path
    columns: dict[str, tuple[str, ...]]
    lines: tuple[int, ...]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def numbers(self, column: str, option: str) -> list[float]:
        """A column as numbers; an empty cell is NaN.

        Raises:
            OptionError: If there is no such column.
            DataError: If a cell is no number, naming its row.
        """
        found: list[float] = []
        for line, text in zip(self.lines, self.column(column, option), strict=True):
            try:
                found.append(float(text) if text.strip() else math.nan)
            except ValueError:
                raise DataError(
                    f"{self.path}, line {line}: {column} must be a number, but is {text[:40]!r}. Fix the table or name "
                    f"another column by {option}."
                ) from None
        return found

    def truths(self, column: str) -> list[float]:
        """A column of accuracies; an empty cell, or one that says nan, is NaN: nobody knows.

        Raises:
            OptionError, DataError: As `numbers` does, and if a cell is infinite, naming its row.
        """
        found = self.numbers(column, "--truth-column")
        for line, value, text in zip(self.lines, found, self.columns[column], strict=True):
            if math.isinf(value):
                raise DataError(
                    f"{self.path}, line {line}: {column} must be finite, but is {text[:40]!r}. "
                    "Empty the cell if it is unknown, or name another column by --truth-column."
                )
        return found

    def column(self, name: str, option: str) -> tuple[str, ...]:
        """A column as it is written.

        Raises:
            OptionError: If there is none, with the nearest name.
        """
        if name not in self.columns:
            near = closest(name, list(self.columns))
            hint = f"did you mean {near!r}? " if near else ""
            raise OptionError(f"{option} {name}: {self.path} has no such column; {hint}It has {self._names()}.")
        return self.columns[name]

    def truth_column(self, asked: str | None) -> str:
        """The column of accuracies: the one asked for, or the only one of a known name."""
        return self._pick(asked, TRUTH_NAMES, "accuracies", "--truth-column")

    def architecture_column(self, asked: str | None, names: Sequence[str] = ARCHITECTURE_NAMES) -> str:
        """The column that says which network a row is about: the one asked for, or the first of these names."""
        return self._pick(asked, names, "architectures", "--arch-column")

    def family_column(self, asked: str | None) -> str | None:
        """The column of families: the one asked for, else `family` if there is one."""
        if asked is None:
            return "family" if "family" in self.columns else None
        self.column(asked, "--family-column")
        return asked

    def _pick(self, asked: str | None, names: Sequence[str], what: str, option: str) -> str:
        if asked is not None:
            self.column(asked, option)
            return asked
        found = next((name for name in names if name in self.columns), None)
        if found is None:
            raise OptionError(f"Which column of {self.path} holds {what}? Name it by {option}: {self._names()}.")
        return found

    def _names(self) -> str:
        return ", ".join(list(self.columns)[:20])


def read_table(path: str | Path) -> TruthTable:
    """Reads a CSV file with a header line.

    Raises:
        DataError: If it cannot be read, is empty, or a line has another number of cells than the header.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path} is larger than {MOST_BYTES >> 20} MiB, too large for a truth table.")
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            numbered = [(reader.line_num, row) for row in reader if row]
    except OSError as fault:
        raise DataError(f"Cannot read {path}: {(fault.strerror or str(fault)).lower()}. Give a CSV file.") from None
    except (UnicodeDecodeError, csv.Error) as fault:
        raise DataError(f"{path} is not a CSV file: {str(fault)[:80]}. Give one with a header line.") from None
    if len(numbered) < 2:
        raise DataError(f"{path} has 0 rows below its header; a truth table needs some.")
    header = numbered[0][1]
    lines, rows = zip(*numbered[1:], strict=True)
    if len(set(header)) < len(header):
        raise DataError(f"{path}: two columns have the same name. Rename one.")
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(header):
            raise DataError(f"{path}, line {line}: {len(row)} cells where the header has {len(header)}. Fix the line.")
    columns = {name: tuple(row[i] for row in rows) for i, name in enumerate(header)}
    return TruthTable(path=path, columns=columns, lines=lines)
