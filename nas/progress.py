"""How long work reports its progress. The command line displays it; everything below only reports."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives what long work reports: one phase at a time, with steps towards a known total."""

    def start(self, phase: str, total: int, unit: str) -> None:
        """A phase of `total` steps begins; `unit` names one step in the plural ("steps", "networks")."""
        ...

    def advance(self, n: int = 1, *, restored: bool = False, **figures: str | float | int) -> None:
        """`n` more steps are done; `figures` are shown beside the bar.

        Args:
            restored: They were done before this session, so that they say nothing of its speed.
        """
        ...

    def finish(self) -> None:
        """The phase is over."""
        ...

    def note(self, text: str) -> None:
        """A line worth keeping on the screen."""
        ...


class Silent:
    """A `Progress` that shows nothing."""

    def start(self, phase: str, total: int, unit: str) -> None: ...

    def advance(self, n: int = 1, *, restored: bool = False, **figures: str | float | int) -> None: ...

    def finish(self) -> None: ...

    def note(self, text: str) -> None: ...
