"""The lock that lets one process at a time write a run."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nas.errors import RunError
from nas.run.files import LOCK, write_error
from nas.run.opening import open_regular

_BUSY = (errno.EWOULDBLOCK, errno.EACCES)
_TRIES, _PAUSE_S = 3, 0.02


class FolderLock:
    """An exclusive `flock` on `<folder>/.lock`; the system releases it when the process ends, even if killed.

    `flock` rather than `lockf`: the latter is lost when any other file object on `.lock` is closed, as by copying
    the folder, and lets one process open a run twice. The file's content names the holder, for messages only.
    """

    def __init__(self, folder: Path) -> None:
        self._handle = -1
        handle = _locked(folder)
        while not _is_at(handle, folder / LOCK):  # `remove` took the file away while it was opened here
            os.close(handle)
            handle = _locked(folder)
        self._handle = handle
        _held.add(self)
        _write(handle, f"{os.getpid()} {socket.gethostname()}\n".encode())

    def release(self) -> None:
        """Lets others open the run. Does nothing if already released."""
        if self._handle >= 0:
            _write(self._handle, b"")
            self.forget()

    def remove(self, folder: Path) -> None:
        """Releases the lock and removes its file, from a folder that did not become a run; not if already released."""
        if self._handle >= 0:
            with suppress(OSError):
                (folder / LOCK).unlink()
            self.release()

    def forget(self) -> None:
        """Closes this process's copy of the lock; the parent process keeps its own."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)

    def __del__(self) -> None:
        self.release()


_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def _drop_inherited() -> None:
    # A forked child shares the lock and would still hold it after its parent is killed.
    for lock in list(_held):
        lock.forget()


os.register_at_fork(after_in_child=_drop_inherited)


def _write(handle: int, content: bytes) -> None:
    """Writes who holds the lock."""
    # A second name of the file may be outside the folder, with content that somebody needs.
    if os.fstat(handle).st_nlink > 1:
        return
    # On a full disk the lock still holds; only the message cannot name its holder.
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, content, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that has a run open for writing; None where its lock does not say.

    Attributes:
        process: Its number on `host`.
    """

    process: int | None
    host: str | None


def lock_holder(folder: Path) -> Holder | None:
    """Returns the process that has a run open; None if none has. Does not wait, and writes nothing.

    The lock itself tells, not the file's content, which a killed process leaves behind.

    Raises:
        RunError: If the lock cannot be read.
    """
    path = folder / LOCK
    try:
        handle = open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as fault:
        raise RunError(f"Cannot read {path}: {(fault.strerror or str(fault)).lower()}.") from fault
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as fault:
        if fault.errno not in _BUSY:
            raise RunError(
                f"Cannot tell whether {folder} is open: {(fault.strerror or str(fault)).lower()}."
            ) from fault
        process, host, *_ = [*_words(handle), None, None]
        return Holder(process=int(process) if process and process.isdecimal() else None, host=host)
    finally:
        os.close(handle)
    return None


def _locked(folder: Path) -> int:
    """Opens and locks the file of a folder's lock.

    Raises:
        RunError: If another process has it, or it cannot be opened or locked.
    """
    path = folder / LOCK
    try:
        handle = open_regular(path, os.O_RDWR | os.O_CREAT)
    except OSError as fault:
        raise write_error(path, fault) from fault
    try:
        _lock(handle)
    except OSError as fault:
        holder = _holder(handle)
        os.close(handle)
        if fault.errno in _BUSY:
            raise RunError(f"Run {folder} is open in {holder}. Wait for it to end or stop it.") from None
        reason = fault.strerror or str(fault)
        raise RunError(
            f"Cannot lock {path}: {reason.lower()}. Choose an --out on a file system that supports locks."
        ) from fault
    return handle


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _lock(handle: int) -> None:
    """Locks a file for this process alone; tries again shortly, since `lock_holder` has it for a moment."""
    for _ in range(_TRIES - 1):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as fault:
            if fault.errno not in _BUSY:
                raise
            time.sleep(_PAUSE_S)
        else:
            return
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _words(handle: int) -> list[str]:
    try:
        return os.pread(handle, 200, 0).decode("utf-8", "replace").split()
    except OSError:
        return []


def _holder(handle: int) -> str:
    words = _words(handle)
    if not words:
        return "another process"
    if len(words) > 1 and words[1] != socket.gethostname():
        return f"another process (pid {words[0]} on {words[1]})"
    return "this process already" if words[0] == str(os.getpid()) else f"another process (pid {words[0]})"
