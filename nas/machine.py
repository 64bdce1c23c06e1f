"""What this machine has."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def available_cores() -> int:
    """Returns how many cores this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_folder() -> Path:
    """Returns the user's cache folder of this package: $NAS_CACHE, else where the platform keeps caches.

    That is $XDG_CACHE_HOME, else ~/Library/Caches on macOS, %LOCALAPPDATA% on Windows, ~/.cache elsewhere.
    """
    own = os.environ.get("NAS_CACHE")
    if own:
        return Path(own)
    root = os.environ.get("XDG_CACHE_HOME")
    if not root and platform.system() == "Darwin":
        root = str(Path.home() / "Library" / "Caches")
    if not root and platform.system() == "Windows":
        root = os.environ.get("LOCALAPPDATA")
    return Path(root or Path.home() / ".cache") / "hybrid-nas"


def cpu_name() -> str:
    """Returns the model of the CPU as the system names it, or else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
