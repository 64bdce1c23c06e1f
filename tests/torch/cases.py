"""Every op's cases, and a count of multiply-adds of our own: hooks on leaf modules."""

from __future__ import annotations

import math

import torch
from torch import nn

from nas.ops.attention import Attention
from nas.ops.channel_attention import ChannelAttention
from nas.ops.patches import TokenMixer

from .op_cases import all_cases

CHANNELS = 8
OPS_VARIED = all_cases()


def token_mixing(leaf: TokenMixer, places: int) -> int:
    """Multiply-adds of T2T-ViT's mixer beside its linear maps."""
    width = leaf.shape.channels
    if leaf.directions is None:
        return 2 * places * places * width
    features = leaf.directions.shape[0]
    directed, products, totals = 2 * width, 2 * width, 1
    return places * features * (directed + products + totals)


def per_image(out: torch.Tensor, batch: int) -> int:
    """Numbers for one image: windows may have joined the batch; what positions alone decide is there once."""
    return out.numel() // batch if len(out) % batch == 0 else out[0].numel()


def counted_by_hooks(module: nn.Module, x: torch.Tensor) -> tuple[int, int, torch.Tensor]:
    """Multiply-adds for one image and parameters, counted apart from `nas.costs`; and the output."""
    macs = 0

    def hook(leaf: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        nonlocal macs
        if isinstance(leaf, nn.Conv2d):
            macs += per_image(out, len(x)) * (leaf.in_channels // leaf.groups) * math.prod(leaf.kernel_size)
        elif isinstance(leaf, nn.ConvTranspose2d):
            macs += inputs[0][0].numel() * (leaf.out_channels // leaf.groups) * math.prod(leaf.kernel_size)
        elif isinstance(leaf, nn.Linear):
            macs += per_image(out, len(x)) * leaf.in_features
        elif isinstance(leaf, ChannelAttention):
            c, height, width, *_ = leaf.shape
            macs += 2 * c * (c // leaf.heads) * height * width
        elif isinstance(leaf, Attention):
            asked, given = (math.prod(each.shape.tensor[1:]) for each in (leaf.q, leaf.k))
            if leaf.windows is not None:
                given = leaf.windows.tokens + leaf.windows.size**2
            macs += asked * given * (leaf.q.shape.channels + leaf.v.shape.channels)
        elif isinstance(leaf, TokenMixer):
            macs += token_mixing(leaf, math.prod(leaf.shape.tensor[1:]))

    handles = [m.register_forward_hook(hook) for m in module.modules()]
    with torch.no_grad():
        out = module(x)
    for handle in handles:
        handle.remove()
    return macs, sum(p.numel() for p in module.parameters()), out
