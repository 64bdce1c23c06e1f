"""Opening of files in a run directory, which may come from a stranger.

A link there could lead a write to any file of the user's, and a pipe or a device could be read for ever. So no file of
a run is opened through a link, and only regular files are.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from nas.errors import RunError


def open_regular(path: Path, flags: int) -> int:
    """Opens a regular file, not through a link; returns its descriptor, which is not inherited.

    Args:
        flags: Of `os.open`. A file that is made has the usual rights.

    Raises:
        RunError: If the path is a link, a folder, a pipe or a device.
        OSError: As `os.open`.
    """
    try:
        # Without waiting: opening a pipe waits for its other end.
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as fault:
        if fault.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR) and os.path.lexists(path):
            raise _refusal(path) from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _refusal(path)
    return handle


def check_regular(folder: Path) -> None:
    """Refuses a run directory with anything but regular files and folders in it.

    Raises:
        RunError: If there is a link, a pipe or a device.
    """
    waiting = [folder]
    while waiting:
        try:
            entries = sorted(os.scandir(waiting.pop()), key=lambda entry: entry.name)
        except OSError:
            continue  # gone meanwhile, or unreadable: whoever needs it says so
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False):
                raise _refusal(Path(entry.path))


def _refusal(path: Path) -> RunError:
    kind = "a link" if path.is_symlink() else "a folder" if path.is_dir() else "a pipe or a device"
    return RunError(f"{path} is {kind}, not a regular file. Put a copy of the file there, or delete it.")
