"""What this machine has."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
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
    """Returns the model of the CPU, or of the board that it is on, as the system names it, or else its architecture.

    Linux names CPUs of x86 in /proc/cpuinfo. Of ARM it names the board there, such as "Raspberry Pi 4 Model B Rev 1.4",
    or numbers alone: who designed the core and which one it is.
    """
    if platform.system() == "Darwin":
        with suppress(OSError, subprocess.SubprocessError):
            asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    told: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        told[key.strip()] = value.strip()
    name = told.get("model name") or told.get("Model")
    if name is None and "CPU part" in told:
        name = f"{platform.machine()} {told.get('CPU implementer', '')} {told['CPU part']}"
    return name or platform.processor() or platform.machine()
