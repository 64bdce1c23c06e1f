"""Progress where there is no terminal: a plain line every few seconds, or nothing at all."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TextIO

from nas.cli.meter import Meter, duration
from nas.texts import printable

if TYPE_CHECKING:
    from nas.cli.outlook import Outlook

EVERY_S = 5.0
SELDOM_S = 60.0
_ENDS, _LONGEST = 60, 880


class Display(Protocol):
    """A `nas.progress.Progress` that also clears its display at the end."""

    def start(self, phase: str, total: int, unit: str) -> None: ...

    def advance(self, n: int = 1, *, restored: bool = False, **figures: str | float | int) -> None: ...

    def finish(self) -> None: ...

    def note(self, text: str) -> None: ...

    def watch(self, outlook: Outlook) -> None:
        """From now on the whole run is shown beside the phase in progress."""
        ...

    def close(self) -> None:
        """Restores the terminal."""
        ...


class Hidden:
    """Shows nothing."""

    def start(self, phase: str, total: int, unit: str) -> None: ...

    def advance(self, n: int = 1, *, restored: bool = False, **figures: str | float | int) -> None: ...

    def finish(self) -> None: ...

    def note(self, text: str) -> None: ...

    def watch(self, outlook: Outlook) -> None: ...

    def close(self) -> None: ...


class Lines:
    """Plain lines for logs: at the start and end of a phase, and between them every few seconds at most.

    Long phases are reported less often: a line per fiftieth of the time taken, every 5 to 60 seconds. A front that has
    changed is written when a phase ends.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._meter: Meter | None = None
        self._told = 0.0
        self._outlook: Outlook | None = None
        self._front: list[str] = []

    def watch(self, outlook: Outlook) -> None:
        self._outlook = outlook

    def start(self, phase: str, total: int, unit: str) -> None:
        self.finish()
        self._meter = Meter(phase, total, unit, self._clock)
        self._told = self._clock()
        self._line(self._meter.line())

    def advance(self, n: int = 1, *, restored: bool = False, **figures: str | float | int) -> None:
        if self._meter is None:
            return
        self._meter.advance(n, figures, restored=restored)
        wait = min(SELDOM_S, max(EVERY_S, self._meter.elapsed / 50))
        if self._clock() - self._told >= wait:
            self._told = self._clock()
            self._line(self._meter.line())

    def finish(self) -> None:
        if self._meter is not None:
            self._write(closing_line(self._meter))
            self._meter = None
            self._say_front()

    def note(self, text: str) -> None:
        self._write(text)

    def close(self) -> None:
        self._meter = None

    def _line(self, line: str) -> None:
        """Writes a line of the phase in progress, with the time left of the whole run."""
        if self._outlook is not None:
            self._outlook.refresh()
            phase = None if self._meter is None else self._meter.left
            line = ", ".join(filter(None, (line, self._outlook.left(phase))))
        self._write(line)

    def _say_front(self) -> None:
        if self._outlook is None:
            return
        self._outlook.refresh(phase=True)
        front = self._outlook.front()
        if front and front != self._front:
            self._front = front
            self._write(f"front: {'; '.join(front)}")

    def _write(self, line: str) -> None:
        write_line(self._stream, line)


def closing_line(meter: Meter) -> str:
    """Returns the line that a finished phase leaves on the screen."""
    parts = [f"{meter.phase}: {meter.own()} in {duration(meter.elapsed)}", meter.details()]
    return ", ".join(part for part in parts if part)


def one_line(text: str) -> str:
    """Returns text on one line without control characters, since file names may hold line breaks and escape codes.

    Words of a thousand characters and more are abbreviated in the middle.
    """
    flat = re.sub(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]\s*", " ", text).strip()
    return re.sub(rf"(\S{{{_ENDS}}})\S{{{_LONGEST},}}(\S{{{_ENDS}}})", r"\1…\2", printable(flat))


def write_line(stream: TextIO, line: str) -> None:
    """Writes and flushes a line. Ignores a closed stream, which must not end an hour of work."""
    try:
        stream.write(one_line(line) + "\n")
        stream.flush()
    except (OSError, ValueError):
        pass
