"""The events of a run in memory. Of trials, only their places in the file are kept: a million take some 40 MB."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from nas.errors import RunError
from nas.run.events import Event, Time, TrialScored
from nas.run.opening import open_regular
from nas.run.schema import EventError, decode_event

Kind = TypeVar("Kind", bound=Event)
_TRIAL = re.compile(rb'\{"time":"[^"\\]{10,40}","event":"trial","trial":\{')


class _Outline(msgspec.Struct):
    """What is checked of the line of a trial before the trial itself is wanted."""

    time: Time
    trial: msgspec.Raw


_outline = msgspec.json.Decoder(_Outline)


def is_line_of_trial(line: bytes) -> bool:
    """Returns whether a line is of a trial, as this program writes it, and valid JSON."""
    if not line.isascii() or _TRIAL.match(line) is None:
        return False
    try:
        _outline.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


class History:
    """The events of a run, in order and by kind.

    Args:
        path: The record, from which trials are read when they are asked for.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._trials: list[int | TrialScored] = []
        # The other events, each with the number of all events before it.
        self._others: list[tuple[int, Event]] = []
        self._kinds: dict[type[Event], list[Event]] = {}

    def add(self, event: Event) -> None:
        """Adds an event that is not in the file as it is here."""
        if isinstance(event, TrialScored):
            self._trials.append(event)
        else:
            self._others.append((len(self), event))
            self._kinds.setdefault(type(event), []).append(event)

    def add_trial(self, offset: int) -> None:
        """Adds a trial by the place of its line in the file, in bytes."""
        self._trials.append(offset)

    def __len__(self) -> int:
        return len(self._trials) + len(self._others)

    def __iter__(self) -> Iterator[Event]:
        trials, passed = self.trials(), 0
        for place, event in self._others:
            for _ in range(place - passed):
                yield next(trials)
            yield event
            passed = place + 1
        yield from trials

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Returns the events of a kind, without a scan of the others."""
        if kind is TrialScored:
            return cast("list[Kind]", list(self.trials()))
        return cast("list[Kind]", self._kinds.get(kind, []))

    def but_trials(self) -> list[Event]:
        """Returns all events but trials."""
        return [event for _, event in self._others]

    def last(self) -> Event:
        """Returns the latest event."""
        if self._others[-1][0] == len(self) - 1:
            return self._others[-1][1]
        return next(self.trials(len(self._trials) - 1))

    def trials(self, first: int = 0) -> Iterator[TrialScored]:
        """Yields the trials from one on.

        Raises:
            RunError: If one is damaged, or the file cannot be read.
        """
        return self.trials_at(range(first, len(self._trials)))

    def trials_at(self, places: Iterable[int]) -> Iterator[TrialScored]:
        """Yields the trials at some places among all trials; raises as `trials`."""
        if not self._trials:
            return
        try:
            with os.fdopen(open_regular(self._path, os.O_RDONLY), "rb") as file:
                for place in places:
                    kept = self._trials[place]
                    if isinstance(kept, TrialScored):
                        yield kept
                    else:
                        file.seek(kept)
                        yield self._decoded(file.readline(), kept)
        except OSError as fault:
            raise RunError(f"Cannot read {self._path}: {(fault.strerror or str(fault)).lower()}.") from fault

    def _decoded(self, line: bytes, offset: int) -> TrialScored:
        try:
            plain: Any = json.loads(line)
            event = decode_event(plain)
            assert isinstance(event, TrialScored)
        except (EventError, ValueError, RecursionError, AssertionError) as fault:
            raise RunError(
                f"{self._path} is damaged: in the trial at byte {offset:,}, {str(fault)[:80]}. Restore it from a copy."
            ) from None
        return event
