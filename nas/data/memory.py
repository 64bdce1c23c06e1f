"""Check that a data set fits in memory, before it is read."""

from __future__ import annotations

import math
import os
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from nas.errors import DataError

USABLE = 0.8
"""Share of the free memory that images may take; the rest is for the networks."""


_most: ContextVar[int | None] = ContextVar("most", default=None)


@contextmanager
def memory_limit(most: int | None) -> Generator[None, None, None]:
    """Within the block, data may not take more bytes than `most` either, however much is free; None is no limit."""
    token = _most.set(most)
    try:
        yield
    finally:
        _most.reset(token)


def fits_memory(needed: int) -> bool:
    """Returns whether so many bytes of images may be held in memory, as far as that is known."""
    usable, _ = _usable()
    return usable is None or needed <= usable


def require_memory(*, images: int, channels: int, resolution: int, transient_bytes: int) -> None:
    """Refuses images that do not fit in memory.

    Args:
        images: Number of images in all splits; one pixel of one channel takes one byte.
        transient_bytes: Additional memory during reading.

    Raises:
        DataError: If more memory is needed than is available; the message has a resolution that fits.
    """
    needed = images * channels * resolution**2 + transient_bytes
    usable, why = _usable()
    if usable is None or needed <= usable:
        return
    fits = math.isqrt(max(usable - transient_bytes, 0) // (images * channels))
    fits -= fits % 8
    remedy = f"lower --train-resolution to {fits} or less, or use fewer images" if fits else "use fewer images"
    reading = " while they are read" if transient_bytes > needed / 2 else ""
    raise DataError(
        f"{images:,} images at {resolution}x{resolution} need {gigabytes(needed)} of memory{reading}, but only"
        f" {gigabytes(usable)} ({why}) is available to them: {remedy}."
    )


def require_bytes(needed: int, *, what: str) -> None:
    """Refuses to read `what` if it does not fit in memory.

    Raises:
        DataError: If more memory is needed than is available.
    """
    usable, why = _usable()
    if usable is not None and needed > usable:
        raise DataError(
            f"{what} needs {gigabytes(needed)} of memory, but only {gigabytes(usable)} ({why}) is available to it:"
            " check how it was saved."
        )


def _usable() -> tuple[int | None, str]:
    """Returns how many bytes data may take, None if that is not known, and by what rule."""
    free, most = available_bytes(), _most.get()
    usable = None if free is None else int(free * USABLE)
    if most is not None and (usable is None or most < usable):
        return most, "--max-memory"
    return usable, f"{USABLE:.0%} of the free memory"


def available_bytes(root: Path = Path("/")) -> int | None:
    """Returns the bytes that this process can still allocate, within its control groups; None if unknown."""
    found = [free for free in (_system_free(root), _group_free(root)) if free is not None]
    return min(found) if found else None


def gigabytes(count: int) -> str:
    """Formats a number of bytes."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e9:.2g} GB"


def _system_free(root: Path) -> int | None:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _group_free(root: Path) -> int | None:
    """Returns the bytes left in the control group (version 1 or 2); reclaimable file cache counts as free."""
    mount = root / "sys/fs/cgroup"
    tried: list[tuple[Path, str, str, str]] = []
    for path in _group_paths(root):
        tried.append((mount / path, "memory.max", "memory.current", "inactive_file"))
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        tried.append((mount / "memory" / path, *names))
    free: list[int] = []
    for folder, limit_name, usage_name, cache_name in tried:
        try:
            limit = (folder / limit_name).read_text().strip()
            usage = int((folder / usage_name).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        if limit.isdigit():
            free.append(max(int(limit) - usage + int(stat.get(cache_name, 0)), 0))
    return min(free) if free else None


def _group_paths(root: Path) -> list[str]:
    """Returns the process's control groups relative to the mount, and the mount itself, the only one in a container."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return [""]
    fields = [line.split(":", 2) for line in lines]
    own = {entry[2].lstrip("/") for entry in fields if len(entry) == 3 and entry[1] in ("", "memory")}
    return sorted(own | {""})
