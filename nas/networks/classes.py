"""Weights of a network that belong to its classes, for classes of other names or in another order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from nas.architecture import Architecture
from nas.networks.network import Network


def per_class(architecture: Architecture) -> set[str]:
    """Returns the names of the tensors that have a row per class."""
    with torch.device("meta"):
        few, more = (Network(architecture.with_classes(n).to_dict()).state_dict() for n in (2, 3))
    return {name for name in few if few[name].shape != more[name].shape}


def in_order(
    state: Mapping[str, torch.Tensor], rows: set[str], *, given: Sequence[str], wanted: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Returns a state dict whose rows of classes, in the order `given`, are in the order `wanted` of the same names."""
    order = torch.tensor([given.index(name) for name in wanted])
    return {name: value[order] if name in rows else value for name, value in state.items()}
