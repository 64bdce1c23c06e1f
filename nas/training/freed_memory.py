"""Memory that tensors leave stays with the process while networks train, where the C library is glibc.

A training step allocates the same activations anew, tens of megabytes each. glibc takes blocks of more than 32 MB from
the system each time, returns them when they are freed, and returns the free end of its heap as well; the system then
hands out every page zeroed, one fault per 4 KiB. That is a fifth to two fifths of a training's time on a CPU
(`experiments/freed-memory`). torch keeps freed memory on GPUs by itself, and on CPUs not at all.

Blocks of ever other sizes, as those of a supernet's members, leave holes that later ones do not fit into. Therefore
`give_back_what_grew` is called between steps.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# Parameters of mallopt, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4

KEPT = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1}
# What glibc's own rule comes to once a block of 32 MB has been freed; a threshold that is set stops that rule.
USUAL = {M_MMAP_MAX: 65_536, M_MMAP_THRESHOLD: 32 << 20, M_TRIM_THRESHOLD: 64 << 20}

# Whoever sets one of these has chosen already.
CHOSEN = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")

LEAST_BYTES, GROWTH = 1 << 30, 1.5
"""A process may hold the first, and so many times what a step needs."""


@dataclass(slots=True)
class _State:
    """What this process does.

    Attributes:
        keeps: Whether freed memory stays with it.
        needed: The most bytes that it has held one step after its free memory was returned.
        returned: Whether it was returned and no step was done since.
    """

    keeps: bool = False
    needed: int = 0
    returned: bool = True


_state = _State()


def keep_freed_memory() -> bool:
    """Freed memory stays with this process from now on, to its end: for the process of a worker.

    Returns:
        Whether it does: not without glibc (macOS, Windows, musl), and not where the environment has set its own limits.
    """
    if not _state.keeps and not any(name in os.environ for name in CHOSEN) and _set(KEPT):
        _state.keeps, _state.needed, _state.returned = True, 0, True
    return _state.keeps


@contextmanager
def freed_memory_kept() -> Generator[None, None, None]:
    """Freed memory stays with the process inside the block, and goes back to the system at its end."""
    outer = _state.keeps
    keep_freed_memory()
    try:
        yield
    finally:
        if not outer:
            _keep_no_more()


@contextmanager
def freed_memory_returned() -> Generator[None, None, None]:
    """Freed memory goes back to the system inside the block, as in a program that says nothing of it: for latencies."""
    kept = _state.keeps
    _keep_no_more()
    try:
        yield
    finally:
        if kept:
            keep_freed_memory()


def give_back_what_grew() -> None:
    """Returns free memory to the system if the process holds half as much again as a step needs; between steps."""
    if not _state.keeps:
        return
    held = _resident_bytes()
    if _state.returned:
        _state.needed, _state.returned = max(_state.needed, held), False
    elif held > max(LEAST_BYTES, GROWTH * _state.needed):
        _trim()
        _state.returned = True


def _keep_no_more() -> None:
    if _state.keeps:
        _set(USUAL)
        _trim()
        _state.keeps = False


def _trim() -> None:
    trim = _from_c_library("malloc_trim")
    assert trim is not None  # glibc has it wherever it has mallopt
    trim(0)


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


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
