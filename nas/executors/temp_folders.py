"""Temporary folders that a killed process leaves behind only until the next one of its kind."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from nas.run.files import is_alive


@contextmanager
def scratch(kind: str, root: str | None = None) -> Generator[Path, None, None]:
    """An empty folder for as long as the block runs.

    Args:
        kind: What it is for; folders of this kind whose process is gone are removed.
        root: Where it is made; None is the system's place for temporary files.
    """
    place = Path(root or tempfile.gettempdir())
    for left in place.glob(f"nas-{kind}-*-*"):
        owner = re.fullmatch(rf"nas-{kind}-(\d+)-\w+", left.name)
        if owner is not None and not is_alive(int(owner[1])):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"nas-{kind}-{os.getpid()}-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
