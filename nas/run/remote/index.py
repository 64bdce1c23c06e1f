"""The object that names all others of a run. It is written last, so that whoever reads it finds a whole run.

Objects that it names are never written over: a file of changed content gets another object. Only files directly in the
run's folder are (its tables and report), which can be rebuilt from the record.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from nas.errors import RunError
from nas.run.record import NAME
from nas.run.remote.store import ObjectStore

INDEX, FORMAT = ".index.json", 1


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a run, or a segment of its record.

    Attributes:
        path: In the run's folder, with slashes; of a segment, "events.jsonl/00001".
        version: Counts the contents that the file had; the first has no part in the object's name.
        sha256: Of the content; None where the object may be newer than the index.
    """

    path: str
    size: int
    version: int = 1
    sha256: str | None = None

    @property
    def key(self) -> str:
        """The name of its object."""
        return self.path if self.version == 1 else f".versions/{self.version}/{self.path}"


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it was at one moment.

    Attributes:
        id: Random, of this state.
        record: The segments of the record, in order.
        files: All other files.
    """

    id: str
    format: int = FORMAT
    record: tuple[Entry, ...] = ()
    files: tuple[Entry, ...] = ()

    @property
    def record_bytes(self) -> int:
        return sum(segment.size for segment in self.record)

    def keys(self) -> set[str]:
        """Returns the names of all objects that it names."""
        return {entry.key for entry in (*self.record, *self.files)}

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


def segment_path(number: int) -> str:
    """Returns the path of a segment of the record, which are numbered from 1."""
    return f"{NAME}/{number:05}"


def read_index(store: ObjectStore) -> Index | None:
    """Returns the index of a run; None if there is none.

    Raises:
        RunError: If the storage refuses, or the index is damaged, of a later format, or names paths that no run has.
    """
    content = store.read(INDEX)
    if content is None:
        return None
    where = f"{store.url}/{INDEX}"
    try:
        index = msgspec.json.decode(content, type=Index)
    except msgspec.DecodeError as fault:
        raise RunError(f"{where} is damaged: {fault}. Restore it from a copy.") from None
    if index.format != FORMAT:
        raise RunError(f"{where} has format {index.format}; this version reads format {FORMAT}. Upgrade hybrid-nas.")
    wanted = [segment_path(number) for number in range(1, len(index.record) + 1)]
    if [segment.path for segment in index.record] != wanted or not all(_is_plain(each.path) for each in index.files):
        raise RunError(f"{where} names paths that no run has. Restore it from a copy.")
    if len({each.path for each in index.files}) != len(index.files) or any(_is_odd(e) for e in _all(index)):
        raise RunError(f"{where} is damaged: its files cannot be as it says. Restore it from a copy.")
    return index


def _all(index: Index) -> Sequence[Entry]:
    return (*index.record, *index.files)


def _is_odd(entry: Entry) -> bool:
    missing = entry.sha256 is None and "/" in entry.path
    return missing or entry.size < 0 or entry.version < 1


def _is_plain(path: str) -> bool:
    """Returns whether a path stays in the run's folder, hides nothing and is not the record."""
    parts = path.split("/")
    return parts[0] != NAME and all(re.fullmatch(r"[^.\\\0][^\\\0]*", part) is not None for part in parts)
