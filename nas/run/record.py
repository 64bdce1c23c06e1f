"""`events.jsonl`: one strict JSON object per line, append-only; the only file of a run that is read back."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from nas.errors import RunError
from nas.run.events import Event, Plain, RunStarted, TrialScored, UnknownEvent, now, tag_of
from nas.run.files import atomic_write, link_or_copy, write_error
from nas.run.history import History, is_line_of_trial
from nas.run.opening import open_regular
from nas.run.schema import EventError, decode_event
from nas.run.upgrade import FORMAT, upgrade

NAME = "events.jsonl"
_STARTED = tag_of(RunStarted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The parsed content of a record.

    Attributes:
        first: The first event, with all fields of its line.
        history: All events; they are upgraded to this version's format.
        size: Bytes of all complete lines; anything after them is a partly written last line.
        format: Format version of the file.
    """

    first: Plain
    history: History
    size: int
    format: int


def encode_started(manifest: Plain) -> bytes:
    """Returns the first line of a record.

    Raises:
        RunError: If a number in it is not finite.
    """
    return _line({"format": FORMAT, "time": _text_of_now(), "event": _STARTED}, manifest)


def read(path: Path) -> Contents:
    """Reads a record, whatever its format.

    A line is complete once its newline is written. A last line that ends in a newline and is still not JSON comes
    from an append that was not synced before the machine crashed; it counts as partly written too.

    Raises:
        RunError: If it cannot be read, is not a run's record, has a later format, or is damaged before its end.
    """
    lines = _lines(path, trials=False)
    head = next(lines, None)
    first = _checked_first(path, None if head is None else head.plain)
    if first["format"] < FORMAT:
        return _read_earlier(path, first["format"])
    history, size = History(path), len(head.text) if head else 0
    history.add(_decoded(path, 1, first))
    for line in lines:
        if line.plain is None:
            history.add_trial(size)
        else:
            history.add(_decoded(path, line.number, line.plain))
        size += len(line.text)
    return Contents(first=first, history=history, size=size, format=FORMAT)


def _read_earlier(path: Path, given: int) -> Contents:
    """Reads a record of an earlier format, whole."""
    lines = list(_lines(path, trials=True))
    plains = _upgraded(path, [line.plain for line in lines if line.plain is not None])
    history = History(path)
    for number, plain in enumerate(plains, start=1):
        history.add(_decoded(path, number, plain))
    return Contents(first=plains[0], history=history, size=sum(len(line.text) for line in lines), format=given)


def rewrite(path: Path) -> None:
    """Rewrites a record of an earlier format in this version's, atomically.

    The original stays beside it, as `events.jsonl.format-1`.

    Raises:
        RunError: If it cannot be written; the record is then unchanged.
    """
    written = [line.plain for line in _lines(path, trials=True) if line.plain is not None]
    first = _checked_first(path, written[0] if written else None)
    link_or_copy(path, path.with_name(f"{path.name}.format-{first['format']}"))
    atomic_write(path, b"".join(_line({}, plain) for plain in _upgraded(path, written)))


class EventLog:
    """Appends events to a file; each is on disk before `append` returns.

    A file of an earlier format is first rewritten in this version's, so that all lines have the same format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process = os.getpid()
        self._handle = -1
        contents = read(path)
        self.upgraded = contents.format < FORMAT
        if self.upgraded:
            rewrite(path)
            contents = read(path)
        self.first, self._size = contents.first, contents.size
        self.history = contents.history
        try:
            self._handle = open_regular(path, os.O_WRONLY | os.O_APPEND)
            if os.fstat(self._handle).st_size != self._size:
                os.ftruncate(self._handle, self._size)
                os.fsync(self._handle)
        except OSError as fault:
            self.close()
            raise write_error(path, fault) from fault

    def append(self, event: Event) -> None:
        """Writes one event or nothing, and adds it to the history in the form in which it would be read back.

        Raises:
            RunError: If it cannot be written, a number is not finite, or it could not be read back; the file is then
                unchanged.
        """
        if self._handle < 0:
            raise RunError(f"Cannot write {self.path}: it is closed. Go on with --resume {self.path.parent}.")
        assert os.getpid() == self._process, "only the process that opened a run writes to it"
        line = _encode(event)
        try:
            recorded = decode_event(json.loads(line))
        except EventError as fault:
            raise RunError(f"Cannot record event {tag_of(type(event))!r}: {fault}.") from None
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._handle, rest) :]
            os.fsync(self._handle)
        except BaseException as fault:
            self._take_back()
            if isinstance(fault, OSError):
                raise write_error(self.path, fault) from fault
            raise
        if isinstance(recorded, TrialScored):
            self.history.add_trial(self._size)
        else:
            self.history.add(recorded)
        self._size += len(line)

    def _take_back(self) -> None:
        # A partial line must go: the next append would turn it into a damaged line in the middle.
        try:
            os.ftruncate(self._handle, self._size)
        except OSError:
            self.close()

    def close(self) -> None:
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)


def _encode(event: Event) -> bytes:
    assert not isinstance(event, UnknownEvent), "events of unknown kinds are only read"
    # Not with msgspec, which does not support subclasses of numbers such as NumPy's.
    fields = msgspec.structs.asdict(event)
    del fields["time"]
    return _line({"time": _text_of_now(), "event": tag_of(type(event))}, fields)


def _text_of_now() -> str:
    return now().isoformat(timespec="milliseconds")


def _line(head: Plain, fields: Plain) -> bytes:
    clash = head.keys() & fields.keys()
    assert not clash, f"fields of an event cannot be named {clash}"
    data = {**head, **fields}
    try:
        line = json.dumps(data, allow_nan=False, separators=(",", ":"))
    except ValueError:
        where, value = _not_finite(fields, "")
        raise RunError(
            f"Cannot record event {data['event']!r}: {where or 'a number in it'} is {value}, not a finite number. "
            "Record a failure instead."
        ) from None
    # Lone surrogates (from undecodable file names) become ASCII escapes here, so they are safe to write.
    return line.encode("ascii") + b"\n"


class _Line(NamedTuple):
    """A complete line of a record; its JSON is None for a trial that is read later."""

    number: int
    text: bytes
    plain: Plain | None


def _lines(path: Path, *, trials: bool) -> Iterator[_Line]:
    """Yields the lines of a record; a partly written last line ends it.

    Args:
        trials: Whether trials are parsed as well.
    """
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            for number, text in enumerate(file, start=1):
                if not text.endswith(b"\n"):
                    return
                later = not trials and number > 1 and is_line_of_trial(text)
                plain = None if later else _plain_of(text)
                if plain is None and not later:
                    _check_end(path, number, file.read())
                    return
                yield _Line(number, text, plain)
    except OSError as fault:
        raise RunError(f"Cannot read {path}: {(fault.strerror or str(fault)).lower()}.") from fault


def _check_end(path: Path, number: int, rest: bytes) -> None:
    """Refuses a line that is no event if more follows."""
    if not rest:
        return
    if number == 1:
        _checked_first(path, None)
    total = number + rest.count(b"\n")
    raise RunError(
        f"{path} is damaged: line {number} of {total} is not a JSON event. "
        "Restore it from a copy, or cut the file before that line and go on with --resume."
    )


def _upgraded(path: Path, written: list[Plain]) -> list[Plain]:
    try:
        return upgrade(written)
    except (ValueError, RecursionError) as fault:
        raise RunError(f"{path} is damaged: {str(fault)[:80]}. Restore it from a copy.") from None


def _plain_of(line: bytes) -> Plain | None:
    try:
        data: object = json.loads(line.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    plain = cast("Plain", data)
    return plain if isinstance(plain.get("event"), str) else None


def _decoded(path: Path, number: int, plain: Plain) -> Event:
    try:
        return decode_event(plain)
    except EventError as fault:
        raise RunError(
            f"{path} is damaged: in line {number} ({plain['event'][:40]}), {fault}. Restore it from a copy."
        ) from None


def _checked_first(path: Path, first: Plain | None) -> Plain:
    """Returns the first event of a record; refuses one that is no manifest of a format that can be read."""
    if first is None or first["event"] != _STARTED or type(first.get("format")) is not int:
        raise RunError(
            f"{path.parent} is not a run: {path.name} does not start with a {_STARTED!r} event. "
            "Give a folder that nas-search wrote."
        )
    if first["format"] > FORMAT:
        raise RunError(
            f"{path.parent} has format {first['format']}; this version reads up to format {FORMAT}. "
            "Upgrade hybrid-nas to read it."
        )
    return first


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _not_finite(value: object, where: str) -> tuple[str, object]:
    """Returns path and value of the first number that is not finite, ("", None) if there is none."""
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
