"""Where a run at a URL is worked on: a folder of this machine for each URL, in the user's cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from nas.errors import NasError, RunError
from nas.machine import cache_folder
from nas.run.files import atomic_write, file_digest, is_url, make_folder, out_folder, write_error
from nas.run.lock import FolderLock
from nas.run.record import NAME
from nas.run.remote import lock
from nas.run.remote.index import INDEX, Entry, Index, read_index
from nas.run.remote.mirror import EVERY_S, Mirror, Note, Uploaded, read_state, write_state
from nas.run.remote.store import ObjectStore

_READS, _EXPORTS = 3, "exports"


@contextmanager
def run_folder(out: str | Path | None, space: str, note: Note) -> Generator[Path, None, None]:
    """Gives the folder of a new run, as `out_folder`, or for a URL one that is uploaded while the block runs.

    Raises:
        RunError: If the folder cannot be made, something is at the URL already, or the rest could not be uploaded.
    """
    if out is None or not is_url(out):
        with out_folder(out, space) as folder:
            yield folder
        return
    with _owned(str(out)) as (home, store, session):
        run = home / "run"
        names = [name for name in store.names() if name != lock.LOCK and not name.startswith(lock.CLAIM)]
        if INDEX in names:
            raise RunError(
                f"{store.url} already holds a run. Continue it with --resume {store.url}, or choose another --out."
            )
        if names:
            shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
            raise RunError(f"{store.url} already holds other files ({shown}). Choose another --out.")
        if (run / NAME).is_file():
            raise RunError(
                f"{run} holds a run of {store.url} that is not there. Continue it with --resume {store.url}, or delete "
                "that folder."
            )
        with _mirrored(store, run, home=home, session=session, index=None, note=note):
            yield run


@contextmanager
def resumed_folder(path: str | Path, note: Note) -> Generator[Path, None, None]:
    """Gives the folder of a run that is there already; a URL is downloaded, and uploaded while the block runs.

    Raises:
        RunError: If nothing is at the URL, another machine writes it, or the rest could not be uploaded.
    """
    if not is_url(path):
        yield Path(path)
        return
    with _owned(str(path)) as (home, store, session):
        run, state, index = home / "run", read_state(home), read_index(store)
        begun = (run / NAME).is_file()
        if index is None and not begun:
            raise RunError(f"There is no run at {store.url}. Give the URL that was the --out of a search.")
        if index is not None and not (begun and index.id in state.ids):
            if begun and (run / NAME).stat().st_size > state.record_bytes:
                aside = home / f"run-{datetime.now(UTC):%Y%m%d-%H%M%S}"
                os.replace(run, aside)
                note(f"Another machine went on with {store.url}; what was done here and not uploaded is in {aside}")
            _download(store, index, run, home / "incoming", index.files)
        with _mirrored(store, run, home=home, session=session, index=index, note=note):
            yield run


def local_copy(path: str | Path, note: Note) -> Path:
    """Returns the folder of a run to read; a URL is downloaded, without checkpoints, which no report or export reads.

    Raises:
        RunError: If no run is at the URL, or it cannot be read.
    """
    if not is_url(path):
        return Path(path)
    store, home = ObjectStore(str(path)), _home_of(str(path)) / "read"
    make_folder(home)
    held = FolderLock(home)
    try:
        for tries_left in reversed(range(_READS)):
            index = read_index(store)
            if index is None:
                raise RunError(f"There is no run at {store.url}. Give the URL that was the --out of a search.")
            if (home / "id").is_file() and (home / "id").read_text() == index.id:
                break
            wanted = [entry for entry in index.files if _is_read(entry)]
            try:
                _download(store, index, home / "run", home / "incoming", wanted)
                atomic_write(home / "id", index.id)
                break
            except _GoneError:  # a search wrote a newer index meanwhile
                if not tries_left:
                    raise
    finally:
        held.release()
    note(f"{store.url} was downloaded to {home / 'run'}, without checkpoints; what is written goes there")
    return home / "run"


class _GoneError(RunError):
    """An object that an index names is not there."""


def _is_read(entry: Entry) -> bool:
    return entry.path.startswith("winners/") or not entry.path.endswith(".safetensors")


@contextmanager
def _owned(url: str) -> Generator[tuple[Path, ObjectStore, str], None, None]:
    """Makes this process the only one that writes a run; gives its home, its store and the session.

    Raises:
        RunError: If another process does, here or elsewhere, or the storage refuses.
    """
    store, home = ObjectStore(url), _home_of(url)
    make_folder(home)
    held = FolderLock(home)
    try:
        state, session = read_state(home), token_hex(8)
        lock.acquire(store, session, earlier=state.session or None)
        write_state(home, Uploaded(session=session, ids=state.ids, record_bytes=state.record_bytes))
        try:
            yield home, store, session
        finally:
            lock.release(store, session)
    finally:
        held.release()


@contextmanager
def _mirrored(
    store: ObjectStore, run: Path, *, home: Path, session: str, index: Index | None, note: Note
) -> Generator[None, None, None]:
    """Uploads a folder while the block runs, and once more at its end."""
    note(f"{store.url}: working in {run}, uploaded every {EVERY_S:.0f} s")
    mirror = Mirror(store, run, home=home, session=session, index=index, note=note)
    try:
        yield
    except BaseException:
        try:
            mirror.close()
        except NasError as fault:
            note(str(fault))
        raise
    mirror.close()


def _download(store: ObjectStore, index: Index, run: Path, incoming: Path, files: Sequence[Entry]) -> None:
    """Replaces a folder by what an index names; the folder is whole, or as it was.

    Raises:
        RunError: If an object is missing or is not what the index says, or the disk refuses.
    """
    try:
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir(parents=True)
        for entry in files:
            there = store.download(entry.key, incoming / entry.path)
            if entry.sha256 is not None:
                _check(store, entry, file_digest(incoming / entry.path) if there else None)
        with (incoming / NAME).open("wb") as record:
            for segment in index.record:
                content = store.read(segment.key)
                _check(store, segment, None if content is None else hashlib.sha256(content).hexdigest())
                record.write(content or b"")
        if (run / _EXPORTS).is_dir() and not (incoming / _EXPORTS).exists():
            os.replace(run / _EXPORTS, incoming / _EXPORTS)  # of a `nas export` from here
        shutil.rmtree(run, ignore_errors=True)
        os.replace(incoming, run)
    except OSError as fault:
        raise write_error(incoming, fault) from fault


def _check(store: ObjectStore, entry: Entry, digest: str | None) -> None:
    if digest is None:
        raise _GoneError(f"{store.url}/{entry.key} is missing. Restore it from a copy.")
    if digest != entry.sha256:
        raise RunError(f"{store.url}/{entry.key} has changed since it was uploaded. Restore it from a copy.")


def _home_of(url: str) -> Path:
    """Returns where a URL is worked on; `$NAS_CACHE` and `$XDG_CACHE_HOME` move it."""
    plain = url.rstrip("/")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", plain.rpartition("/")[2]).strip("-.") or "run"
    return cache_folder() / "remote" / f"{name}-{hashlib.sha256(plain.encode()).hexdigest()[:12]}"
