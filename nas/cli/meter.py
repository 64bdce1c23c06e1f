"""Progress, rate and time left of a phase of work, as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nas.formats import count


class Meter:
    """Counts the steps of one phase.

    Args:
        phase: Name of the phase, such as "search".
        total: Number of steps; 0 or less if unknown.
        unit: Plural name of a step, such as "networks".
        clock: Returns monotonic seconds; tests pass their own.
    """

    def __init__(self, phase: str, total: int, unit: str, clock: Callable[[], float]) -> None:
        self.phase = phase
        self.total = total
        self.unit = unit
        self.done = 0
        self._restored = 0
        self.figures: dict[str, str | float | int] = {}
        self._clock = clock
        self._started = self._last = clock()

    def advance(self, n: int, figures: Mapping[str, str | float | int], *, restored: bool = False) -> None:
        self.done += n
        self.figures.update(figures)
        if restored:
            self._restored += n
        elif n > 0:
            self._last = self._clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the phase began."""
        return self._clock() - self._started

    @property
    def rate(self) -> float | None:
        """Steps per second up to the latest step, without those of earlier sessions; None before the first."""
        took, own = self._last - self._started, self.done - self._restored
        return own / took if own > 0 and took > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds left at this rate; None if unknown."""
        if self.rate is None or self.total <= 0:
            return None
        # Counted from the latest step, so that it keeps falling while a slow step runs.
        return max(0.0, (self.total - self.done) / self.rate - (self._clock() - self._last))

    def own(self) -> str:
        """Returns the steps of this session: "200 networks", or "200 networks (90 of them before)"."""
        before = f" ({self._restored:,} of them before)" if self._restored else ""
        return f"{count(self.done, self.unit.removesuffix('s'))}{before}"

    def percent(self) -> str:
        """Returns progress as "45 %"; never "100 %" before the last step."""
        return f"{min(100, 100 * self.done // self.total)} %" if self.total > 0 else ""

    def count(self) -> str:
        """Returns progress as "90/200 networks"."""
        return f"{self.done:,}/{self.total:,} {self.unit}" if self.total > 0 else f"{self.done:,} {self.unit}"

    def pace(self) -> str:
        """Returns rate and time left, such as "3.2 networks/s, 0:34 left"; empty before the first step."""
        if self.rate is None:
            return ""
        speed = pace(self.rate, self.unit)
        return speed if self.left is None else f"{speed}, {duration(self.left)} left"

    def details(self) -> str:
        """Returns the figures that the work reported last, such as "loss 0.412, best 0.93"."""
        return ", ".join(f"{name.replace('_', ' ')} {_figure(value)}" for name, value in self.figures.items())

    def line(self) -> str:
        """Returns all of these on one line."""
        percent = f" ({self.percent()})" if self.total > 0 else ""
        parts = [f"{self.phase}: {self.count()}{percent}", self.pace(), self.details()]
        return ", ".join(part for part in parts if part)


def pace(rate: float, unit: str) -> str:
    """Formats steps per second as "3.2 networks/s" or "4 networks/min"."""
    per_minute = rate < 0.1
    number = rate * 60 if per_minute else rate
    shown = f"{number:,.0f}" if number >= 100 else f"{number:.2g}"
    return f"{shown} {unit}/{'min' if per_minute else 's'}"


def duration(seconds: float) -> str:
    """Formats seconds as "0:34", "12:05" or "3:07:00"."""
    whole = int(seconds + 0.5)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _figure(value: str | float | int) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else value
