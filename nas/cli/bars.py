"""Progress on a terminal: one live bar and the state of the whole run, replaced by a plain line when its phase ends.

Imported only where there is a terminal, since rich takes a tenth of a second to import.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from nas.cli.display import closing_line, one_line, write_line
from nas.cli.meter import Meter, duration
from nas.cli.outlook import Outlook

_GAP, _FRONT = "  ", "front  "
_LEAST_HEIGHT = 12
"""Lines of a terminal below which no front is shown."""


class Bars:
    """Displays progress on `stream`, a terminal."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._meter: Meter | None = None
        self._bars: Progress | None = None
        self._outlook: Outlook | None = None

    def watch(self, outlook: Outlook) -> None:
        self._outlook = outlook

    def start(self, phase: str, total: int, unit: str) -> None:
        self.finish()
        self._meter = Meter(phase, total, unit, self._clock)
        if self._outlook is not None:
            self._outlook.refresh(phase=True)
        console = Console(file=self._stream, highlight=False)
        bar = 24 if console.width >= 100 else 12 if console.width >= 60 else 6
        self._bars = _Lines(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=bar),
            _MeterColumn(self._meter, lambda: console.width - len(phase) - bar - 2),
            meter=self._meter,
            outlook=self._outlook,
            console=console,
        )
        self._bars.add_task(phase, total=total if total > 0 else None)
        self._bars.start()

    def advance(self, n: int = 1, *, restored: bool = False, **figures: str | float | int) -> None:
        if self._meter is not None and self._bars is not None:
            self._meter.advance(n, figures, restored=restored)
            self._bars.advance(self._bars.task_ids[0], n)
            if self._outlook is not None:
                self._outlook.refresh()

    def finish(self) -> None:
        if self._meter is not None:
            meter = self._meter
            self.close()
            write_line(self._stream, closing_line(meter))

    def note(self, text: str) -> None:
        bars = self._bars  # uploads note from a thread of their own
        if bars is None:
            write_line(self._stream, text)
        else:
            bars.console.print(one_line(text), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
        self._meter = self._bars = None


class _Lines(Progress):
    """The bar, and below it the figures of the phase, the whole run and the front."""

    def __init__(self, *columns: ProgressColumn, meter: Meter, outlook: Outlook | None, console: Console) -> None:
        self._meter = meter
        self._outlook = outlook
        self._screen = console  # rich asks for what to show before it has its own
        super().__init__(
            *columns,
            console=console,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,  # standard output is for the answer
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        outlook, figures = self._outlook, self._meter.details()
        said = (
            [outlook.left(self._meter.left), "" if "best" in self._meter.figures else outlook.best()] if outlook else []
        )
        if line := _GAP.join(filter(None, [*said, figures])):
            yield _one(line)
        if outlook is not None and self._screen.height >= _LEAST_HEIGHT:
            for number, words in enumerate(outlook.front()):
                yield _one((" " * len(_FRONT) if number else _FRONT) + words)


class _MeterColumn(ProgressColumn):
    """Progress, rate and time left, as much as there is room for; the time left is updated between steps too."""

    def __init__(self, meter: Meter, room: Callable[[], int]) -> None:
        super().__init__()
        self._meter = meter
        self._room = room

    def render(self, task: Task) -> Text:
        meter = self._meter
        left = "" if meter.left is None else f"{duration(meter.left)} left"
        choices = (
            [meter.percent(), meter.count(), meter.pace()],
            [meter.percent(), meter.pace()],
            [meter.percent(), left],
        )
        texts = [_GAP.join(filter(None, parts)) for parts in choices]
        return _one(next((text for text in texts if len(text) <= self._room()), texts[-1]))


def _one(text: str) -> Text:
    return Text(text, overflow="ellipsis", no_wrap=True)
