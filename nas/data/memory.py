"""Check that a data set fits in memory, before it is read."""

from __future__ import annotations

import math
import os
from pathlib import Path

from nas.errors import DataError

USABLE = 0.8
"""Share of the free memory that images may take; the rest is for the networks."""


def fits_memory(needed: int) -> bool:
    """Returns whether so many bytes of images fit in the memory that is free, as far as that is known."""
    free = available_bytes()
    return free is None or needed <= int(free * USABLE)


def require_memory(*, images: int, channels: int, resolution: int, transient_bytes: int) -> None:
    """Refuses images that do not fit in memory.

    Args:
        images: Number of images in all splits; one pixel of one channel takes one byte.
        transient_bytes: Additional memory during reading.

    Raises:
        DataError: If more memory is needed than is available; the message has a resolution that fits.
    """
    free = available_bytes()
    if free is None:
        return
    usable = int(free * USABLE)
    needed = images * channels * resolution**2 + transient_bytes
    if needed <= usable:
        return
    fits = math.isqrt(max(usable - transient_bytes, 0) // (images * channels))
    fits -= fits % 8
    remedy = f"lower --train-resolution to {fits} or less, or use fewer images" if fits else "use fewer images"
    reading = " while they are read" if transient_bytes > needed / 2 else ""
    raise DataError(
        f"{images:,} images at {resolution}x{resolution} need {described_bytes(needed)} of memory{reading}, but only"
        f" {described_bytes(usable)} ({USABLE:.0%} of the free memory) is available to them: {remedy}."
    )


def require_bytes(needed: int, *, what: str) -> None:
    """Refuses to read `what` if it does not fit in memory.

    Raises:
        DataError: If more memory is needed than is available.
    """
    free = available_bytes()
    if free is not None and needed > free * USABLE:
        raise DataError(
            f"{what} needs {described_bytes(needed)} of memory, but only {described_bytes(int(free * USABLE))}"
            f" ({USABLE:.0%} of the free memory) is available to it: check how it was saved."
        )


def available_bytes(root: Path = Path("/")) -> int | None:
    """Returns the bytes that this process can still allocate, within its control groups; None if unknown."""
    found = [free for free in (_system_free(root), _group_free(root)) if free is not None]
    return min(found) if found else None


def described_bytes(count: int) -> str:
    """Returns a number of bytes for people, in GB."""
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
