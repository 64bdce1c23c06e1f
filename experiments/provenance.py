"""Where a result comes from: what every file in `results/` says of itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]


def provenance(command: str) -> dict[str, str]:
    """The commit, torch's version, the hardware in words and the command that made a result."""
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, check=False, capture_output=True, text=True).stdout.strip()
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    return {
        "commit": commit,
        "torch": torch.__version__,
        "hardware": f"{os.cpu_count()}-core {model.split(':')[-1].strip()}, {torch.backends.cpu.get_cpu_capability()}",
        "command": command,
    }
