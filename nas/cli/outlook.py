"""The whole run beside the phase in progress: its time left, the best network and a small front, for a live display."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from nas.budget import format_quantity
from nas.cli.meter import duration
from nas.errors import NasError
from nas.formats import score_text
from nas.report.status import FrontPoint, Status, run_status

EVERY_S, REST, REST_AT_PHASES = 10.0, 100.0, 10.0
"""A run's folder is read every 10 seconds at most, and after each reading not for 100 times as long as that took, at
the start and end of a phase not for 10 times: 10,000 trials take seconds to read."""
MOST_POINTS = 4


class Outlook:
    """The state of the run in a folder, read again now and then by whoever asks for it.

    Args:
        clock: Returns monotonic seconds; tests pass their own.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._status: Status | None = None
        self._read = self._due = self._due_at_phases = clock()

    def refresh(self, *, phase: bool = False) -> None:
        """Reads the run's folder if that is due, which is earlier where a `phase` begins or ends."""
        began = self._clock()
        if began < (self._due_at_phases if phase else self._due):
            return
        try:
            self._status = run_status(self._folder)
        except (NasError, OSError):
            self._status = None  # it is being planned: nothing is recorded yet
        self._read = self._clock()
        took = self._read - began
        self._due = self._read + max(EVERY_S, REST * took)
        self._due_at_phases = self._read + REST_AT_PHASES * took

    def left(self, phase: float | None = None) -> str:
        """Returns the time left as "whole run about 12:04 left"; "" where nothing tells it.

        Args:
            phase: Seconds left of the phase in progress alone, where they are known; the run has as many at least.
        """
        if self._status is None or self._status.seconds_left is None:
            return ""
        seconds = self._status.seconds_left - (self._clock() - self._read)
        return f"whole run about {duration(max(0.0, phase or 0.0, seconds))} left"

    def best(self) -> str:
        """Returns the best network so far as "best test accuracy 0.9512 (CCAA)"; "" before the first."""
        best = self._status and self._status.best
        return f"best {best.figure} {score_text(best.value)} ({best.name})" if best else ""

    def front(self) -> list[str]:
        """Returns the front's best networks as "0.9323 at 8.00 MMACs (CCAA)", best score first."""
        return front_words(self._status.front) if self._status else []


def front_words(front: tuple[FrontPoint, ...]) -> list[str]:
    """Returns the first few networks of a front as text, and how many are left out."""
    words = [
        f"{score_text(point.score)} at {format_quantity(point.metric, point.cost)} ({point.name})"
        for point in front[:MOST_POINTS]
    ]
    more = len(front) - MOST_POINTS
    return [*words, f"and {more} more"] if more > 0 else words
