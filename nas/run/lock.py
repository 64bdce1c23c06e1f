"""The lock that lets one process at a time write a run."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import weakref
from contextlib import suppress
from pathlib import Path

from nas.errors import RunError
from nas.run.files import write_error
from nas.run.opening import open_regular

_NAME = ".lock"


class FolderLock:
    """An exclusive `flock` on `<folder>/.lock`; the system releases it when the process ends, even if killed.

    `flock` rather than `lockf`: the latter is lost when any other file object on `.lock` is closed, as by copying
    the folder, and lets one process open a run twice. The file's content names the holder, for messages only.
    """

    def __init__(self, folder: Path) -> None:
        self._handle = -1
        path = folder / _NAME
        try:
            handle = open_regular(path, os.O_RDWR | os.O_CREAT)
        except OSError as fault:
            raise write_error(path, fault) from fault
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as fault:
            holder = _holder(handle)
            os.close(handle)
            if fault.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise RunError(f"Run {folder} is open in {holder}. Wait for it to end or stop it.") from None
            reason = fault.strerror or str(fault)
            raise RunError(
                f"Cannot lock {path}: {reason.lower()}. Choose an --out on a file system that supports locks."
            ) from fault
        self._handle = handle
        _held.add(self)
        _write(handle, f"{os.getpid()} {socket.gethostname()}\n".encode())

    def release(self) -> None:
        """Lets others open the run. Does nothing if already released."""
        if self._handle >= 0:
            _write(self._handle, b"")
            self.forget()

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


def _holder(handle: int) -> str:
    try:
        words = os.pread(handle, 200, 0).decode("utf-8", "replace").split()
    except OSError:
        words = []
    if not words:
        return "another process"
    if len(words) > 1 and words[1] != socket.gethostname():
        return f"another process (pid {words[0]} on {words[1]})"
    return "this process already" if words[0] == str(os.getpid()) else f"another process (pid {words[0]})"
