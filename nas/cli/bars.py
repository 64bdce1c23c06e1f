"""Progress on a terminal: one live bar, replaced by a plain line when its phase ends.

Imported only where there is a terminal, since rich takes a tenth of a second to import.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from nas.cli.display import closing_line, one_line, write_line
from nas.cli.meter import Meter


class Bars:
    """Displays progress on `stream`, a terminal."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._meter: Meter | None = None
        self._bars: Progress | None = None

    def start(self, phase: str, total: int, unit: str) -> None:
        self.finish()
        self._meter = Meter(phase, total, unit, self._clock)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            _MeterColumn(self._meter),
            console=Console(file=self._stream, highlight=False),
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,  # standard output is for the answer
        )
        self._bars.add_task(phase, total=total if total > 0 else None)
        self._bars.start()

    def advance(self, n: int = 1, *, restored: bool = False, **figures: str | float | int) -> None:
        if self._meter is not None and self._bars is not None:
            self._meter.advance(n, figures, restored=restored)
            self._bars.advance(self._bars.task_ids[0], n)

    def finish(self) -> None:
        if self._meter is not None:
            meter = self._meter
            self.close()
            write_line(self._stream, closing_line(meter))

    def note(self, text: str) -> None:
        if self._bars is None:
            write_line(self._stream, text)
        else:
            self._bars.console.print(one_line(text), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
        self._meter = self._bars = None


class _MeterColumn(ProgressColumn):
    """Count, rate, time left and figures; the time left is updated between steps too."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def render(self, task: Task) -> Text:
        meter = self._meter
        parts = [meter.percent(), meter.count(), meter.pace(), meter.details()]
        return Text("  ".join(part for part in parts if part), overflow="ellipsis", no_wrap=True)
