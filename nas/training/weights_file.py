"""What readers of given weights share: which files may run code, what metadata say, whether all numbers are finite."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".pkl")
"""Suffixes of files that may be pickles, which can run code when they are read."""


def metadata_of(path: Path) -> dict[str, str]:
    """Returns the metadata of a .safetensors file; empty if they cannot be read."""
    with suppress(SafetensorError, OSError), safe_open(path, "pt") as file:
        return file.metadata() or {}
    return {}


def first_not_finite(state: Mapping[str, torch.Tensor]) -> str | None:
    """Returns the name of the first tensor with a number that is not finite; None if there is none."""
    return next((name for name, value in state.items() if not bool(value.isfinite().all())), None)


def shape_text(tensor: torch.Tensor) -> str:
    """Returns a tensor's shape as 8x3x3."""
    return "x".join(map(str, tensor.shape)) or "a scalar"
