"""Every op's cases, and a count of multiply-adds of our own: hooks on leaf modules."""

from __future__ import annotations

import math

import torch
from torch import nn

from nas.ops.attention import Attention

from .op_cases import all_cases

CHANNELS = 8
OPS_VARIED = all_cases()


def counted_by_hooks(module: nn.Module, x: torch.Tensor) -> tuple[int, int, torch.Tensor]:
    """Multiply-adds for one image and parameters, counted apart from `nas.costing`; and the output."""
    macs = 0

    def hook(leaf: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        nonlocal macs
        if isinstance(leaf, nn.Conv2d):
            macs += out[0].numel() * (leaf.in_channels // leaf.groups) * math.prod(leaf.kernel_size)
        elif isinstance(leaf, nn.Linear):
            macs += out[0].numel() * leaf.in_features
        elif isinstance(leaf, Attention):
            asked, given = (math.prod(each.shape.tensor[1:]) for each in (leaf.q, leaf.k))
            if leaf.windows is not None:
                given = leaf.windows.size**2
            macs += asked * given * (leaf.q.shape.channels + leaf.v.shape.channels)

    handles = [m.register_forward_hook(hook) for m in module.modules()]
    with torch.no_grad():
        out = module(x)
    for handle in handles:
        handle.remove()
    return macs, sum(p.numel() for p in module.parameters()), out
