"""Temporary folders that a killed process leaves behind only until the next one of its kind.

Whoever uses a folder holds a lock in it, which the system releases with the process. Its number would not do: processes
of several containers may share a place for temporary files, and do not see each other.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from nas.errors import RunError
from nas.run.opening import open_regular

_LOCK = ".in-use"


@contextmanager
def scratch(kind: str, root: str | None = None) -> Generator[Path, None, None]:
    """An empty folder, but for a hidden file, for as long as the block runs.

    Args:
        kind: What it is for; folders of this kind that nobody uses any more are removed.
        root: Where it is made; None is the system's place for temporary files.
    """
    place = Path(root or tempfile.gettempdir())
    for left in place.glob(f"nas-{kind}-*"):
        if re.fullmatch(rf"nas-{kind}-\w+", left.name):
            _remove_unused(left)
    folder = Path(tempfile.mkdtemp(prefix=f"nas-{kind}-", dir=place))
    # Until it is locked it has no lock, and is left alone.
    handle = open_regular(folder / _LOCK, os.O_RDWR | os.O_CREAT)
    try:
        with suppress(OSError):  # a file system without locks: nobody else can lock it either
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _remove_unused(folder: Path) -> None:
    """Removes a folder of this user's whose lock nobody holds."""
    try:
        if folder.lstat().st_uid != os.geteuid():
            return
        handle = open_regular(folder / _LOCK, os.O_RDWR)
    except (OSError, RunError):
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        pass
    finally:
        os.close(handle)
