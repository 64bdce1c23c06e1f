"""Which program a process runs: workers of another version would score otherwise, and silently.

A run may take days, its code may be edited or upgraded meanwhile, and a worker may be replaced at any time. So workers
run a copy that was made when the run began, and say what they run before they are asked for anything.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

import nas
from nas.executors.temp_folders import scratch
from nas.version import __version__

# What no worker does.
_ELSEWHERE = ("cli", "report", "run")


@cache
def program() -> dict[str, str]:
    """Versions of all that decides the bits of what workers do, and a digest of this package's code."""
    root = Path(nas.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if name.parts[0] not in _ELSEWHERE:
            digest.update(str(name).encode() + b"\0" + path.read_bytes())
    return {
        "hybrid-nas": __version__,
        "code of hybrid-nas": digest.hexdigest()[:12],
        "torch": torch.__version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
    }


@contextmanager
def copied_package() -> Generator[Path, None, None]:
    """A folder with a copy of this package, for as long as the block runs."""
    program()
    with scratch("package") as folder:
        package = Path(nas.__file__).parent
        shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        yield folder


def difference(expected: dict[str, str]) -> str | None:
    """How this process's code differs from the driver's, in a line; None if it does not."""
    own = program()
    for name, wanted in expected.items():
        if own.get(name) != wanted:
            return f"the worker on {platform.node()} has {name} {own.get(name, '?')}, not {wanted}"
    return None


def refusal(expected: dict[str, str]) -> str | None:
    """Why this process can do nothing for a driver of that program, and the remedy, in a line; None if it can."""
    differing = difference(expected)
    return None if differing is None else f"{differing}. Install the same versions on every node."
