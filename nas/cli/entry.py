"""The installed commands `nas` and `nas-search`: an interrupt while the program loads shows no traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module


def main() -> int:
    """Runs `nas`; returns the exit status."""
    return _loaded("main")


def main_search() -> int:
    """Runs `nas-search`; returns the exit status."""
    return _loaded("main_search")


def _loaded(name: str) -> int:
    try:
        command: Callable[[], int] = getattr(import_module("nas.cli.main"), name)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return command()
