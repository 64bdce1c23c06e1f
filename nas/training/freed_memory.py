"""Memory that tensors leave stays with the process while networks train, where the C library is glibc.

A training step allocates the same activations anew, tens of megabytes each. glibc takes blocks of more than 32 MB from
the system each time, returns them when they are freed, and returns the free end of its heap as well; the system then
hands out every page zeroed, one fault per 4 KiB. That is a fifth to a third of a training's time on a CPU
(`experiments/freed-memory`). torch keeps freed memory on GPUs by itself, and on CPUs not at all.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

# Parameters of mallopt, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4

KEPT = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1}
# What glibc's own rule comes to once a block of 32 MB has been freed; a threshold that is set stops that rule.
USUAL = {M_MMAP_MAX: 65_536, M_MMAP_THRESHOLD: 32 << 20, M_TRIM_THRESHOLD: 64 << 20}

# Whoever sets one of these has chosen already.
CHOSEN = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")

_keeps = False


def keep_freed_memory() -> bool:
    """Freed memory stays with this process from now on, to its end: for the process of a worker.

    Returns:
        Whether it does: not without glibc (macOS, Windows, musl), and not where the environment has set its own limits.
    """
    global _keeps
    _keeps = _keeps or (not any(name in os.environ for name in CHOSEN) and _set(KEPT))
    return _keeps


@contextmanager
def freed_memory_kept() -> Generator[None, None, None]:
    """Freed memory stays with the process inside the block, and goes back to the system at its end."""
    outer = _keeps
    keep_freed_memory()
    try:
        yield
    finally:
        if not outer:
            _return_freed_memory()


@contextmanager
def freed_memory_returned() -> Generator[None, None, None]:
    """Freed memory goes back to the system inside the block, as in a program that says nothing of it: for latencies."""
    kept = _keeps
    _return_freed_memory()
    try:
        yield
    finally:
        if kept:
            keep_freed_memory()


def _return_freed_memory() -> None:
    global _keeps
    if _keeps:
        _set(USUAL)
        trim = _from_c_library("malloc_trim")
        assert trim is not None  # glibc has it wherever it has mallopt
        trim(0)
        _keeps = False


def _set(values: dict[int, int]) -> bool:
    mallopt = _from_c_library("mallopt")
    return mallopt is not None and all(mallopt(name, value) == 1 for name, value in values.items())


def _from_c_library(name: str) -> Callable[..., Any] | None:
    """One of glibc's functions; None for another C library, which may have one of that name and another meaning."""
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows has no library of that kind
        return None
    return getattr(library, name, None) if hasattr(library, "gnu_get_libc_version") else None
