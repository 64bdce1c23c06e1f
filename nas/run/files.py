"""Files that are whole or absent: written beside their place, synced, then renamed into it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

from nas.errors import RunError

_REMEDIES = {
    errno.ENOSPC: "Free some space, then go on with --resume, or choose another --out.",
    errno.EDQUOT: "Free some of your quota, then go on with --resume, or choose another --out.",
    errno.EROFS: "Choose an --out that can be written to.",
    errno.EACCES: "Give yourself the right to write there or choose another --out.",
    errno.EPERM: "Give yourself the right to write there or choose another --out.",
    errno.ENOTDIR: "A part of the path is a file: choose another --out.",
    errno.ENAMETOOLONG: "Choose a shorter --out.",
}


def write_error(path: Path, fault: OSError) -> RunError:
    """The one line for a file that cannot be written: path, reason and what would work."""
    reason = (fault.strerror or str(fault)).lower()
    remedy = _REMEDIES.get(fault.errno or 0, "Check the disk or choose another --out.")
    return RunError(f"Cannot write {path}: {reason}. {remedy}")


@contextmanager
def replacing(path: str | Path) -> Generator[Path, None, None]:
    """Gives a temporary path beside `path`, with its ending, that takes its place when the block ends well.

    For savers that want a path. Where the block raises, what stood at `path` stays as it was.

    Raises:
        RunError: If the folder cannot be written to or the disk is full.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, target)
        _sync(target.parent)
    except OSError as fault:
        raise write_error(target, fault) from fault
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def atomic_write(path: str | Path, content: bytes | str) -> None:
    """Writes `content` (text as UTF-8) so that readers and crashes find the old file or the new one, whole.

    Raises:
        RunError: If the folder cannot be written to or the disk is full.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def is_leftover(name: str) -> bool:
    """Whether a file is what a killed `replacing` leaves behind, or our lock."""
    return name == ".lock" or re.fullmatch(r"\..+\.\d+\.tmp(\..+)?", name) is not None


def default_folder(space: str, root: str | Path = "runs") -> Path:
    """The first free `<root>/<space>-<date>-<n>`; nothing is created."""
    # A space may be given as a path, and its name may hold anything.
    stem = Path(space).stem if space.endswith((".yaml", ".yml")) else Path(space).name
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.") or "search"
    number = 1
    while (folder := Path(root) / f"{name}-{date.today().isoformat()}-{number}").exists():
        number += 1
    return folder


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as fault:
        # Some file systems cannot sync a folder; the rename is then as durable as they make it.
        if not (path.is_dir() and fault.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise
    finally:
        os.close(handle)
