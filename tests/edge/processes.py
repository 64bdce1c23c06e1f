"""Processes of this machine, by what they say they are."""

from __future__ import annotations

from pathlib import Path


def processes(name: str) -> list[int]:
    """Processes by the title that they gave themselves."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(name.encode()):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
