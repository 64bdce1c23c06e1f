"""Swin (arXiv:2103.14030)."""

from __future__ import annotations

import torch

from nas.networks.network import Network
from nas.networks.timm.converting import Family, State, fitted
from nas.networks.timm.families.encoders import encoded

RULES = (
    (r"patch_embed\.norm\.(.*)", r"stem.1.\1"),
    (r"layers\.(\d)\.downsample\.norm\.(.*)", r"stages.\1.transition.1.\2"),
    (r"layers\.(\d)\.downsample\.reduction\.(.*)", r"stages.\1.transition.2.\2"),
    (r"head\.fc\.(.*)", r"head.linear.\1"),
)


def convert(state: State, network: Network) -> State:
    """Converts timm's Swin."""
    moved = {name: merged(tensor) if ".downsample." in name else tensor for name, tensor in state.items()}
    found = encoded(moved, network, ((r"layers\.(\d)\.blocks\.(\d+)", r"stages.\1.layers.\2"),), RULES)
    for name, tensor in found.items():
        if name.endswith(".bias.table"):
            side = round(tensor.shape[0] ** 0.5)
            found[name] = tensor.T.unflatten(1, (side, side))
    return fitted(found, network)


def merged(tensor: torch.Tensor) -> torch.Tensor:
    """Reorders the last axis, four neighbors (column, row, channel), to (channel, row, column)."""
    neighbors = tensor.unflatten(-1, (2, 2, -1))
    last = neighbors.ndim - 1
    return neighbors.permute(*range(last - 2), last, last - 1, last - 2).flatten(-3)


FAMILY = Family(
    names={f"swin_{size}_patch4_window7_224": f"swin_{size}" for size in ("tiny", "small", "base", "large")},
    convert=convert,
)
