"""Atomic file writes: a temporary file beside the target, synced, then renamed to it.

Whoever writes into a folder so holds a shared lock on the folder meanwhile, and what killed writes left there is
removed under an exclusive one. The system releases both with the process. Its number would not do: processes of
several containers or machines may share a folder, and do not see each other.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from secrets import token_hex

from nas.errors import RunError

_REMEDIES = {
    errno.ENOSPC: "Free some space, then go on with --resume or the same command, or choose another --out.",
    errno.EDQUOT: "Free some of your quota, then go on with --resume or the same command, or choose another --out.",
    errno.EROFS: "Choose an --out that can be written to.",
    errno.EACCES: "Grant yourself write permission there or choose another --out.",
    errno.EPERM: "Grant yourself write permission there or choose another --out.",
    errno.ENOTDIR: "A part of the path is a file: choose another --out.",
    errno.ENAMETOOLONG: "Choose a shorter --out.",
    errno.ELOOP: "A link in the path leads in a circle: choose another --out.",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f), then go on with --resume or the same command.",
}


# Earlier versions named the process there.
LOCK = ".lock"
_TEMPORARY = re.compile(r"\..+?\.[0-9a-f]+(?:\.old)?\.tmp(?:\..+)?")
_OF_SYSTEMS = re.compile(r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini|\.nfs[0-9a-f]+|\.directory")
_TRIES, _PAUSE_S = 50, 0.02
"""A folder is swept in a moment; whoever else keeps it locked does not keep us from writing."""


def write_error(path: Path, fault: OSError) -> RunError:
    """The one line for a file that cannot be written: path, reason and what would work."""
    reason = (fault.strerror or str(fault)).lower()
    remedy = _REMEDIES.get(fault.errno or 0, "Check the disk or choose another --out.")
    return RunError(f"Cannot write {path}: {reason}. {remedy}")


def expanded(path: str | Path) -> str:
    """Returns a path whose `~` is the home folder, as the shell gives it; a URL as it is."""
    return os.fspath(path) if is_url(path) else os.path.expanduser(path)


def is_url(text: object) -> bool:
    """Returns whether a text is the URL of a storage, such as s3://bucket/run, and no path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", str(text)) is not None


def check_writable(folder: Path) -> None:
    """Refuses a folder that could not be made, or not be written to, as far as that shows without trying it.

    Raises:
        RunError: The same as a write would.
    """
    there = folder.absolute()
    try:
        with suppress(FileNotFoundError):
            os.stat(folder)  # names that are too long, links that go in circles, files where folders are needed
        while not os.path.lexists(there):
            there = there.parent
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(there, os.W_OK | os.X_OK):
            read_only = os.statvfs(there).f_flag & os.ST_RDONLY
            number = errno.EROFS if read_only else errno.EACCES
            raise OSError(number, os.strerror(number))
    except OSError as fault:
        raise write_error(folder, fault) from None


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, where they are not there.

    Raises:
        RunError: If the disk refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise write_error(folder, fault) from fault


@contextmanager
def replacing(path: str | Path) -> Generator[Path, None, None]:
    """Gives a temporary path beside `path`, with its ending, that takes its place when the block ends well.

    For savers that want a path. Where the block raises, what stood at `path` stays as it was.

    Raises:
        RunError: If the folder cannot be written to or the disk is full.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.{unique()}.tmp{target.suffix}")
    with writing_into(target.parent):
        try:
            with suppress(FileNotFoundError):
                os.unlink(temporary)  # a stranger's link of that name would be followed
            yield temporary
            _sync(temporary)
            os.replace(temporary, target)
            _sync(target.parent)
        except OSError as fault:
            raise write_error(target, fault) from fault
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def unique() -> str:
    """What makes a temporary name one of its own, among all processes and threads."""
    return token_hex(8)


@contextmanager
def writing_into(folder: Path) -> Generator[None, None, None]:
    """Keeps `remove_leftovers` away from a folder for as long as the block runs, in whatever process it is.

    A file system without locks has none: nothing is removed there.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield  # whoever writes says what is wrong with it
        return
    try:
        for _ in range(_TRIES):
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_PAUSE_S)
            except OSError:
                break
            else:
                break
        yield
    finally:
        os.close(handle)


def atomic_write(path: str | Path, content: bytes | str) -> None:
    """Writes `content` (text as UTF-8) so that readers and crashes find the old file or the new one, whole.

    Raises:
        RunError: If the folder cannot be written to or the disk is full.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_leftover(name: str) -> bool:
    """Whether a file or folder is what a killed write leaves behind, our lock, or what systems put into folders."""
    return name == LOCK or bool(_TEMPORARY.fullmatch(name)) or is_of_system(name)


def is_of_system(name: str) -> bool:
    """Whether a file is what systems put into folders that they show or serve."""
    return bool(_OF_SYSTEMS.fullmatch(name))


def sweep(folder: Path) -> None:
    """Removes what killed writes left in a run's folder and the folders in it."""
    remove_leftovers([*folder.glob(".*.tmp*"), *folder.glob("*/.*.tmp*"), *folder.glob("finalists/*/.*.tmp*")])


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Removes those of the files and folders that a killed write left, unless somebody writes into their folder now."""
    found: dict[Path, list[Path]] = {}
    for path in paths:
        if _TEMPORARY.fullmatch(path.name):
            found.setdefault(path.parent, []).append(path)
    for folder, left in found.items():
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for path in left:
                    _remove(path)
            finally:
                os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def link_or_copy(source: Path, target: Path) -> None:
    """Puts a file that nobody will change at a second place, without taking room for it where the disk allows that.

    Raises:
        RunError: If the folder cannot be written to or the disk is full.
    """
    with replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            # Another file system, or one without links.
            shutil.copyfile(source, temporary)


@contextmanager
def out_folder(out: str | Path | None, space: str, root: str | Path = "runs") -> Generator[Path, None, None]:
    """Gives the folder that `--out` names, or makes the first free `<root>/<space>-<date>-<n>`.

    The name is taken by making the folder, so that two runs at once have two. Where the block raises before anything is
    in it, it is removed again.

    Raises:
        RunError: If the folder cannot be made.
    """
    if out is not None:
        if is_url(out):
            raise RunError(f"--out {out}: only a search writes to a URL. Give a folder.")
        yield Path(expanded(out))
        return
    missing = not Path(root).exists()
    folder = _make_numbered(space, Path(root))
    try:
        yield folder
    except BaseException:
        with suppress(OSError):  # something was written
            folder.rmdir()
            if missing:
                folder.parent.rmdir()
        raise


def _make_numbered(space: str, root: Path) -> Path:
    # A space may be given as a path, and its name may hold anything.
    stem = Path(space).stem if space.endswith((".yaml", ".yml")) else Path(space).name
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.") or "search"
    number = 1
    while True:
        folder = root / f"{name}-{date.today().isoformat()}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as fault:
            raise write_error(folder, fault) from fault
        else:
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
