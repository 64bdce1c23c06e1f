"""What readers of given weights share: which files may run code, what metadata say, whether all numbers are finite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from nas.networks.sealed_file import KEY, check_seal, metadata_of
from nas.spaces.catalog import zoo_names

PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".pkl")
"""Suffixes of files that may be pickles, which can run code when they are read."""


def may_be_pickle(path: Path) -> bool:
    """Returns whether a file is a pickle by its name, or begins as what `torch.save` writes."""
    if path.suffix in PICKLES:
        return True
    with path.open("rb") as file:
        return file.read(4).startswith((b"PK\x03\x04", b"\x80"))


def converting(path: Path, network: str) -> str:
    """Returns why a pickle is refused, with the command that converts it.

    Args:
        network: What it is given for: a name of the zoo, or a file, of which the zoo's name is not known.
    """
    name = network if network in zoo_names() else "NAME"
    out = path.with_suffix(".safetensors").name
    return (
        f"may be a pickle, which can run code: convert it once by `nas weights convert {path} --network {name} --out "
        f"{out}`."
    )


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Returns the tensors of a .safetensors file, which is checked against its own digest where it carries one.

    Raises:
        SafetensorError: If it is no such file, or has changed since it was written.
        RunError, OSError: If it cannot be opened.
    """
    if KEY in metadata_of(path):
        check_seal(path.resolve())  # links are for whoever gives them to decide
    return load_file(path)


def first_not_finite(state: Mapping[str, torch.Tensor]) -> str | None:
    """Returns the name of the first tensor with a number that is not finite; None if there is none."""
    return next((name for name, value in state.items() if not bool(value.isfinite().all())), None)


def shape_text(tensor: torch.Tensor) -> str:
    """Returns a tensor's shape as 8x3x3."""
    return "x".join(map(str, tensor.shape)) or "a scalar"
