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
    """Ctrl-C after so many steps of training."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def advance(self, n: int = 1, **figures: str | float | int) -> None:
        self._left -= n if "loss" in figures else 0
        if self._left == 0:
            raise KeyboardInterrupt
