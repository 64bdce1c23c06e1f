"""Progress that keeps what it is told, or interrupts."""

from __future__ import annotations

from nas.progress import Silent


class Notes(Silent):
    """Keeps the notes, in their order."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Interrupt(Silent):
    """Ctrl-C after so many steps of training, or of whatever else shows a figure."""

    def __init__(self, steps: int, figure: str = "loss") -> None:
        self._left, self._figure = steps, figure

    def advance(self, n: int = 1, **figures: str | float | int) -> None:
        self._left -= n if self._figure in figures else 0
        if self._left == 0:
            raise KeyboardInterrupt
