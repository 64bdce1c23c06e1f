"""Uploads of a run's folder, from a thread of its own, while a search writes there."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

import msgspec

from nas.errors import NasError, RunError
from nas.run.files import atomic_write, file_digest
from nas.run.record import NAME
from nas.run.remote import lock
from nas.run.remote.index import INDEX, Entry, Index, read_index, segment_path
from nas.run.remote.snapshot import Snapshot, Stamp, digests, freeze, segments
from nas.run.remote.store import ObjectStore
from nas.run.signals import seconds_left

EVERY_S = 20.0
"""Seconds between two uploads. A machine that dies takes with it what came since the last one began."""
LAST_S = 60.0
"""How long the last upload is tried again where the storage does not answer."""
_AGAIN_S = 2.0

Note = Callable[[str], None]


class SupersededError(RunError):
    """Another session writes the run now."""


class Uploaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a working folder remembers of its uploads.

    Attributes:
        session: The latest that wrote from this folder.
        ids: Of the indexes that were or may have been written; the local files are as new as any of them.
        record_bytes: Of the record that is at the URL for certain.
    """

    session: str
    ids: tuple[str, ...] = ()
    record_bytes: int = 0


class Mirror:
    """Keeps a URL up to date with a folder until it is closed.

    Args:
        folder: The run's folder.
        home: Has room for what is about to be uploaded, on the same disk, and the file `state`.
        index: What is at the URL now.
        note: Is told of a storage that does not answer, and again when it does.
    """

    def __init__(
        self,
        store: ObjectStore,
        folder: Path,
        *,
        home: Path,
        session: str,
        index: Index | None,
        note: Note,
        every_s: float = EVERY_S,
    ) -> None:
        self._store, self._folder, self._home, self._session = store, folder, home, session
        self._index = index or Index(id="")
        self._known: dict[str, Stamp] = {}
        self._note, self._every_s = note, every_s
        self._over, self._closed, self._busy = threading.Event(), threading.Event(), threading.Lock()
        self._inode = 0
        self._unsure = False
        self._silent_since: float | None = None
        self._superseded: SupersededError | None = None
        self._remember(self._index.id)
        self._uploads = threading.Thread(target=self._work, name="uploads", daemon=True)
        self._uploads.start()
        threading.Thread(target=self._keep_lock, name="lock", daemon=True).start()

    def save(self) -> None:
        """Uploads what is new: first the content, then the index that names it. Deletes what no index names any more.

        Raises:
            SupersededError: If another session writes the run now.
            RunError: If the storage refuses.
        """
        with self._busy:
            self._check_owner()
            if self._unsure:  # the answer to the last index was lost, perhaps not the index
                self._index, self._unsure = read_index(self._store) or Index(id=""), False
            snapshot = freeze(self._folder, self._home / "outgoing", self._known)
            if not snapshot.record_bytes:
                return  # there is no run yet
            record = tuple(self._upload_record(snapshot))
            files = tuple(self._upload_files(snapshot))
            if (record, files) != (self._index.record, self._index.files):
                new = Index(id=token_hex(8), record=record, files=files)
                self._remember(self._index.id, new.id)
                self._check_owner()
                self._unsure = True
                self._store.write(INDEX, new.encode())
                old, self._index, self._unsure = self._index, new, False
                self._remember(new.id)
                self._known = dict(snapshot.stamps)
                self._store.delete(old.keys() - new.keys())
            self._known, self._inode = dict(snapshot.stamps), snapshot.record_inode

    def close(self, *, tries_s: float = LAST_S) -> None:
        """Uploads the rest.

        Raises:
            RunError: If the rest could not be uploaded; its line says where it is and how to upload it later.
        """
        self._over.set()
        try:
            self._upload_rest(tries_s)
        finally:
            self._closed.set()

    def _upload_rest(self, tries_s: float) -> None:
        end = time.monotonic() + min(tries_s, max(0.0, seconds_left() - 2.0))
        self._uploads.join(max(0.0, end - time.monotonic()))
        while self._superseded is None:
            fault = self._tried(quiet=True)
            if fault is None:
                return
            if isinstance(fault, SupersededError):
                break
            if time.monotonic() + _AGAIN_S > end:
                raise RunError(
                    f"{self._store.url} is not up to date ({fault}). Nothing is lost: the run is in {self._folder}. "
                    f"nas-search --resume {self._store.url} on this machine uploads the rest."
                )
            time.sleep(_AGAIN_S)
        if self._superseded is not None:
            raise self._superseded

    def _work(self) -> None:
        while not self._over.wait(self._every_s) and self._superseded is None:
            self._tried()

    def _keep_lock(self) -> None:
        """Renews the lock, however long an upload takes."""
        while not self._closed.wait(self._every_s):
            with suppress(RunError):
                held = lock.owner(self._store)
                if held is not None and held.session == self._session:
                    lock.renew(self._store, self._session)

    def _tried(self, *, quiet: bool = False) -> NasError | OSError | None:
        """Uploads, and tells of a storage that does not answer; returns what went wrong."""
        try:
            self.save()
        except SupersededError as fault:
            if self._superseded is None and not quiet:
                self._note(str(fault))
            self._superseded = fault
            return fault
        except (NasError, OSError) as fault:
            if self._silent_since is None and not quiet:
                self._silent_since = time.monotonic()
                self._note(
                    f"{fault} The search goes on in {self._folder}; uploads are tried again every {self._every_s:.0f} s"
                )
            return fault
        if self._silent_since is not None:
            minutes = (time.monotonic() - self._silent_since) / 60
            self._note(f"{self._store.url} is up to date again, after {minutes:.1f} min")
            self._silent_since = None
        return None

    def _check_owner(self) -> None:
        """Raises `SupersededError` if the run is no longer this session's."""
        held = lock.owner(self._store)
        if held is None:
            index = read_index(self._store)
            if (index.id if index else "") == self._index.id:
                return
        elif held.session == self._session:
            return
        raise SupersededError(
            f"{self._store.url} is now written by {held or 'another search'}, so nothing more is uploaded from here. "
            f"What was done here is in {self._folder}. Stop one of the two searches."
        )

    def _upload_record(self, snapshot: Snapshot) -> Iterator[Entry]:
        """Yields the segments of the record: those that are closed as they are, the others uploaded if they changed."""
        record, closed = self._folder / NAME, self._index.record[:-1]
        if snapshot.record_inode != self._inode and [segment.sha256 for segment in closed] != digests(
            record, [segment.size for segment in closed]
        ):
            closed = ()
        yield from closed
        known = {segment.path: segment for segment in self._index.record}
        start = sum(segment.size for segment in closed)
        for number, content in enumerate(segments(record, start, snapshot.record_bytes), start=len(closed) + 1):
            digest, old = hashlib.sha256(content).hexdigest(), known.get(segment_path(number))
            if old is not None and old.sha256 == digest:
                yield old
                continue
            version = 1 if old is None else old.version + 1
            new = Entry(path=segment_path(number), size=len(content), version=version, sha256=digest)
            self._store.write(new.key, content)
            yield new

    def _upload_files(self, snapshot: Snapshot) -> Iterator[Entry]:
        """Yields all files but the record, by path; those of new content are uploaded."""
        known = {entry.path: entry for entry in self._index.files}
        for path, stamp in sorted(snapshot.stamps.items()):
            old, held = known.get(path), snapshot.held.get(path)
            if held is None:
                assert old is not None, path
                yield old
            elif "/" not in path:
                self._store.upload(path, held)
                yield Entry(path=path, size=stamp[2])
            else:
                digest = file_digest(held)
                if old is not None and old.sha256 == digest:
                    yield old
                    continue
                version = 1 if old is None else old.version + 1
                new = Entry(path=path, size=stamp[2], version=version, sha256=digest)
                self._store.upload(new.key, held)
                yield new

    def _remember(self, *ids: str) -> None:
        """Notes, before and after an index is written, which ones may be at the URL."""
        state = Uploaded(session=self._session, ids=tuple(filter(None, ids)), record_bytes=self._index.record_bytes)
        write_state(self._home, state)


def write_state(home: Path, state: Uploaded) -> None:
    """Writes what a working folder remembers.

    Raises:
        RunError: If the disk refuses.
    """
    atomic_write(home / "state", msgspec.json.encode(state))


def read_state(home: Path) -> Uploaded:
    """Returns what a working folder remembers, nothing if it is new."""
    try:
        return msgspec.json.decode((home / "state").read_bytes(), type=Uploaded)
    except (FileNotFoundError, msgspec.DecodeError):
        return Uploaded(session="")
