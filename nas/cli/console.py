"""Output of a command: the answer on standard output, everything else on standard error."""

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
        as_json: Whether the answer is one JSON document instead of text.
        quiet: Whether to suppress progress and notes; the answer and warnings remain.

    Attributes:
        progress: The `Progress` to pass to long-running work.
        run: The folder of the run in progress, for the message after an interruption.
        url: Where that folder is uploaded to, if anywhere.
        cluster: The Ray cluster of that run, if it has to be given again to resume it.
        again: How to resume the work in progress, if it is not a run.
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
        self.url: str | None = None
        self.cluster: str | None = None
        self.again: str | None = None
        self._out = sys.stdout if out is None else out
        self._err = sys.stderr if err is None else err
        self.progress: Display = Hidden() if quiet else _display(self._err)

    @property
    def run_name(self) -> str:
        """What `--resume` takes for the run in progress."""
        return self.url or str(self.run)

    def watch(self, run: Path, *, url: str | None = None) -> None:
        """Shows the state of the whole run, in this folder, beside its phases from now on."""
        from nas.cli.outlook import Outlook

        self.run, self.url = run, url
        self.progress.watch(Outlook(run))

    def say(self, text: str = "") -> None:
        """Writes a line of the answer, unless it is JSON."""
        if not self.as_json:
            self.progress.close()
            self._out.write(printable(text) + "\n")

    def document(self, answer: object) -> None:
        """Writes the answer as JSON, the only thing on standard output."""
        if self.as_json:
            self.progress.close()
            self._out.write(json.dumps(plain(answer), indent=2, allow_nan=False) + "\n")

    def note(self, text: str) -> None:
        """Writes a note, unless the command is quiet."""
        self.progress.note(text)

    def warn(self, text: str) -> None:
        """Writes a warning, even if the command is quiet."""
        self.progress.close()
        write_line(self._err, f"Warning: {text}")

    def error(self, text: str) -> None:
        """Writes why the command failed, on one line."""
        self.progress.close()
        write_line(self._err, text)


def plain(value: Any) -> Any:
    """Converts a value for JSON: dataclasses to objects, paths to strings, numbers that are not finite to null."""
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
    """Returns lines with aligned columns; the columns numbered in `left` are left-aligned, the others right-aligned."""
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
