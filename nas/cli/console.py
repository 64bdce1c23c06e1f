"""What a command writes, and where: the answer on standard output, everything else on standard error."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from nas.cli.display import Display, Hidden, Lines, write_line
from nas.texts import printable


class Console:
    """The two streams of one command.

    Args:
        as_json: The answer is one JSON document; text for people is not written.
        quiet: No progress and no notes; the answer and warnings remain.

    Attributes:
        progress: Hand this to whatever takes long.
        run: The folder of the run in progress, for the message after an interruption.
        again: What goes on with the work in progress, where that is no run.
    """

    def __init__(
        self,
        *,
        as_json: bool = False,
        quiet: bool = False,
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.run: Path | None = None
        self.again: str | None = None
        self._out = sys.stdout if out is None else out
        self._err = sys.stderr if err is None else err
        self.progress: Display = Hidden() if quiet else _display(self._err)

    def say(self, text: str = "") -> None:
        """A line of the answer for people."""
        if not self.as_json:
            self.progress.close()
            self._out.write(printable(text) + "\n")

    def document(self, answer: object) -> None:
        """The answer for programs: one JSON document, the only thing on standard output."""
        if self.as_json:
            self.progress.close()
            self._out.write(json.dumps(plain(answer), indent=2, allow_nan=False) + "\n")

    def note(self, text: str) -> None:
        """Something by the way."""
        self.progress.note(text)

    def warn(self, text: str) -> None:
        """Something that a person should know, however quiet the command is to be."""
        self.progress.close()
        write_line(self._err, f"Warning: {text}")

    def error(self, text: str) -> None:
        """Why the command failed, on one line."""
        self.progress.close()
        write_line(self._err, text)


def plain(value: Any) -> Any:
    """The value as JSON can hold it: dataclasses as objects, paths as texts, what is not finite as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> list[str]:
    """Lines with aligned columns; those numbered in `left` are flush left, the others right."""
    every = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in every) for i in range(len(header))]
    return [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in every
    ]


def _display(stream: TextIO) -> Display:
    if not stream.isatty() or os.environ.get("TERM", "") in ("", "dumb"):
        return Lines(stream)
    from nas.cli.bars import Bars

    return Bars(stream)
