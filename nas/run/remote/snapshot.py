"""A run's folder as it was at one moment, while a search goes on writing in it.

The search replaces files and appends to the record; whatever the record names was written before. So the length of the
record is read between two looks at all files, and what is to be uploaded is held by hard links. If nothing but the
record changed between the two looks, this is a state that a killed search would have left, and a resume expects.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from nas.errors import RunError
from nas.run.files import write_error
from nas.run.opening import open_regular
from nas.run.record import NAME

SEGMENT_BYTES = 4 * 2**20
"""A segment of the record is closed at the end of the line that reaches this size; the one behind it is open."""
_TRIES, _PAUSE_S = 40, 0.05
_TAIL = 2**16

Stamp: TypeAlias = tuple[int, int, int]
"""The inode, the time of the last change in ns and the size of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run's folder at one moment.

    Attributes:
        record_bytes: Of the complete lines of the record.
        record_inode: Tells a record that was written anew, as for a later format, from one that grew.
        stamps: Of all other files, by their paths in the folder, with slashes.
        held: Where the content of those is that had changed.
    """

    record_bytes: int
    record_inode: int
    stamps: Mapping[str, Stamp]
    held: Mapping[str, Path]


def freeze(folder: Path, holding: Path, known: Mapping[str, Stamp]) -> Snapshot:
    """Returns the state of a folder; what differs from `known` is held in the folder `holding`, which is emptied first.

    Raises:
        RunError: If it never stands still for a moment, or the disk refuses.
    """
    try:
        for _ in range(_TRIES):
            shutil.rmtree(holding, ignore_errors=True)
            holding.mkdir(parents=True)
            first = _stamps(folder)
            size, inode = _complete_bytes(folder / NAME)
            changed = [path for path, stamp in first.items() if known.get(path) != stamp]
            try:
                held = {path: _hold(folder / path, holding / str(number)) for number, path in enumerate(changed)}
            except FileNotFoundError:
                held = None
            if held is not None and _stamps(folder) == first:
                return Snapshot(record_bytes=size, record_inode=inode, stamps=first, held=held)
            time.sleep(_PAUSE_S)
    except OSError as fault:
        raise write_error(holding, fault) from fault
    raise RunError(f"The files of {folder} change faster than they can be uploaded. It is tried again.")


def segments(record: Path, start: int, end: int) -> Iterator[bytes]:
    """Yields the bytes of a record from one place to another in segments, each of whole lines.

    Only the last of them may be smaller than `SEGMENT_BYTES`, and it has the last line: an append that fails is taken
    back, so what is closed never changes.

    Raises:
        RunError: If the record cannot be read.
    """
    try:
        with os.fdopen(open_regular(record, os.O_RDONLY), "rb") as file:
            file.seek(start)
            while start < end:
                piece = file.read(min(SEGMENT_BYTES, end - start))
                if start + len(piece) < end and not piece.endswith(b"\n"):
                    piece += file.readline()
                if not piece:
                    raise RunError(f"{record} became shorter while it was uploaded. It is tried again.")
                start += len(piece)
                yield piece
    except OSError as fault:
        raise RunError(f"Cannot read {record}: {(fault.strerror or str(fault)).lower()}.") from fault


def digests(record: Path, sizes: Sequence[int]) -> list[str]:
    """Returns the SHA-256 of parts of a record that follow each other from its beginning.

    Raises:
        RunError: If the record cannot be read.
    """
    try:
        with os.fdopen(open_regular(record, os.O_RDONLY), "rb") as file:
            return [hashlib.sha256(file.read(size)).hexdigest() for size in sizes]
    except OSError as fault:
        raise RunError(f"Cannot read {record}: {(fault.strerror or str(fault)).lower()}.") from fault


def _stamps(folder: Path) -> dict[str, Stamp]:
    """Returns the stamps of all files but the record; names that begin with a dot are locks and unfinished writes."""
    found: dict[str, Stamp] = {}
    waiting = [folder]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except FileNotFoundError:
            continue  # gone since it was listed; the second look tells
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                try:
                    stat = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                path = Path(entry.path).relative_to(folder).as_posix()
                found[path] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    found.pop(NAME, None)
    return found


def _hold(path: Path, link: Path) -> Path:
    """Keeps a file's content reachable, whatever takes its place."""
    try:
        os.link(path, link, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(path, link)  # a file system without hard links
    return link


def _complete_bytes(record: Path) -> tuple[int, int]:
    """Returns the size of a record without a last line that is partly written, and its inode; zeros without one."""
    try:
        handle = open_regular(record, os.O_RDONLY)
    except FileNotFoundError:
        return 0, 0
    with os.fdopen(handle, "rb") as file:
        inode = os.fstat(handle).st_ino
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(0, end - _TAIL)
            file.seek(begin)
            found = file.read(end - begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1, inode
            end = begin
    return 0, inode
