"""Progress that keeps what it is told."""

from __future__ import annotations

from nas.progress import Silent


class Notes(Silent):
    """Keeps the notes, in their order."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)
