"""`events.jsonl`: a strict JSON object a line, only appended to; the one file of a run that is read back."""

from __future__ import annotations

import json
import math
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, cast

from nas.errors import RunError
from nas.run.files import write_error
from nas.run.schema import fault_in

FORMAT = 1
NAME = "events.jsonl"
Event: TypeAlias = dict[str, Any]


def encode(event: str, fields: dict[str, Any]) -> tuple[Event, bytes]:
    """The event as it will be read back, and its line.

    Raises:
        RunError: If a number in it is not finite, since strict JSON has no such number.
    """
    clash = {"format", "time", "event"} & fields.keys()
    assert not clash, f"event {event!r} cannot have fields named {clash}"
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    head = {"format": FORMAT} if event == "run_started" else {}
    data = {**head, "time": time, "event": event, **fields}
    try:
        line = json.dumps(data, allow_nan=False, separators=(",", ":"))
    except ValueError:
        where, value = _not_finite(fields, "")
        raise RunError(
            f"Cannot record event {event!r}: {where or 'a number in it'} is {value}, not a finite number. "
            "Record a failure instead."
        ) from None
    # Lone surrogates, as in undecodable file names, are ASCII escapes here and so safe to write.
    return json.loads(line), line.encode("ascii") + b"\n"


def read(path: Path) -> tuple[list[Event], int]:
    """The events in a file and how many of its bytes they take; anything after is a torn last line.

    A line counts once its newline is there. A last line that has one and is still not JSON is what a crash of
    the machine leaves of an append that was never synced, so it is torn as well.

    Raises:
        RunError: If it cannot be read, is no run's record, has a later format, or is damaged before its end.
    """
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise RunError(f"Cannot read {path}: {(fault.strerror or str(fault)).lower()}.") from fault
    events: list[Event] = []
    good = 0
    *lines, tail = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        event = _decode(line)
        if event is None:
            if number < len(lines) or tail:
                _check_first(path, events[0] if events else None)
                raise RunError(
                    f"{path} is damaged: line {number} of {len(lines)} is not a JSON event. "
                    "Restore it from a copy, or cut the file before that line and go on with --resume."
                )
            break
        wrong = fault_in(event)
        if wrong is not None:
            _check_first(path, events[0] if events else event)
            raise RunError(
                f"{path} is damaged: in line {number} ({event['event'][:40]}), {wrong}. Restore it from a copy."
            )
        events.append(event)
        good += len(line) + 1
    _check_first(path, events[0] if events else None)
    return events, good


class EventLog:
    """Appends events to a file; each is on the disk before `append` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process = os.getpid()
        self._handle = -1
        self.events, self._size = read(path)
        try:
            self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            if os.fstat(self._handle).st_size != self._size:
                os.ftruncate(self._handle, self._size)
                os.fsync(self._handle)
        except OSError as fault:
            self.close()
            raise write_error(path, fault) from fault

    def append(self, event: str, fields: dict[str, Any]) -> Event:
        """Writes one event, or nothing.

        Raises:
            RunError: If the disk is full or gone, or a number is not finite; the file is then as it was.
        """
        if self._handle < 0:
            raise RunError(f"Cannot write {self.path}: it is closed. Go on with --resume {self.path.parent}.")
        assert os.getpid() == self._process, "only the process that opened a run writes to it"
        data, line = encode(event, fields)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._handle, rest) :]
            os.fsync(self._handle)
            self._size += len(line)
        except BaseException as fault:
            self._take_back()
            if isinstance(fault, OSError):
                raise write_error(self.path, fault) from fault
            raise
        self.events.append(data)
        return data

    def _take_back(self) -> None:
        # Half a line must not stay: the next append would turn it into a damaged line in the middle.
        try:
            os.ftruncate(self._handle, self._size)
        except OSError:
            self.close()

    def close(self) -> None:
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)


def _check_first(path: Path, first: Event | None) -> None:
    if first is None or first["event"] != "run_started" or type(first.get("format")) is not int:
        raise RunError(
            f"{path.parent} is not a run: {path.name} does not start with a 'run_started' event. "
            "Give a folder that nas-search wrote."
        )
    if first["format"] > FORMAT:
        raise RunError(
            f"{path.parent} has format {first['format']}; this version reads up to format {FORMAT}. "
            "Upgrade hybrid-nas to read it."
        )


def _decode(line: bytes) -> Event | None:
    try:
        data: object = json.loads(line.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    event = cast("Event", data)
    return event if isinstance(event.get("event"), str) else None


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _not_finite(value: object, where: str) -> tuple[str, object]:
    """Path and value of the first number that is not finite, ("", None) if there is none."""
    if isinstance(value, float) and not math.isfinite(value):
        return where, value
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(cast("dict[Any, Any]", value).items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(cast("list[Any]", value)))
    for key, item in items:
        found = _not_finite(item, f"{where}.{key}" if where else str(key))
        if found[0]:
            return found
    return "", None
