"""Programs that run in a process of their own, without this package: what is exported must need nothing of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nas.errors import ExportError

SECONDS = 600
# torch first, since it looks for numpy by itself, then all else is barred.
_HEADER = """
import json, sys
import torch
asked = json.loads(sys.stdin.read())
for name in asked["barred"]:
    sys.modules[name] = None
sys.dont_write_bytecode = True
torch.set_num_threads(asked["threads"])
images = torch.randn(asked["shape"], generator=torch.Generator().manual_seed(asked["seed"]))
answer = {}
"""
_FOOTER = """
print()
print(json.dumps(answer))
"""


def run_alone(
    file: str, program: str, asked: Mapping[str, Any], *, barred: tuple[str, ...], environment: Mapping[str, str] = {}
) -> dict[str, Any]:
    """Runs a program in another process, away from this folder.

    Args:
        file: What is run, for messages: "model.py".
        program: Python; it finds `asked` and random `images`, and puts plain JSON into the dictionary `answer`.
        asked: Plain JSON, with the `shape` and `seed` of the images.
        barred: Packages that it cannot import.
        environment: Further variables.

    Returns:
        The answer.

    Raises:
        ExportError: If it fails, or gives nothing within `SECONDS`.
    """
    whole = {**asked, "barred": barred, "threads": torch.get_num_threads()}
    with tempfile.TemporaryDirectory() as elsewhere:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-c", f"{_HEADER}{program}{_FOOTER}"],
                input=json.dumps(whole),
                cwd=elsewhere,
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ExportError(f"{file} gave no output within {SECONDS} s.") from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise ExportError(f"{file} does not run by itself: {last[0][:300]}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def place(folder: Path, name: str) -> str:
    """Returns the absolute path of a file, for a process that runs elsewhere."""
    return str((folder / name).resolve())
