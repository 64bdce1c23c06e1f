"""Every op with a config to vary, and a count of multiply-adds of our own: hooks on leaf modules."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from nas.ops.attention import Attention

CHANNELS = 8
INNER = {"op": "conv", "width": 4}
# op -> (a config, and for every parameter of it another value)
OPS_VARIED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "activation": ({}, {"name": "relu"}),
    "attention": (
        {"width": 12, "head_dim": 4, "stride": 2},
        {"width": 16, "head_dim": 6, "position": "none", "stride": 1, "pool": "max"},
    ),
    "batch_norm": ({}, {"eps": 0.1, "momentum": 0.5}),
    "classifier": ({"num_classes": 5}, {"num_classes": 6, "norm": {"op": "layer_norm"}, "hidden": False}),
    "conv": (
        {"width": 12},
        {"width": 16, "kernel_size": 5, "stride": 2, "padding": 0, "groups": 4, "bias": False},
    ),
    "conv_stem": ({"width": 12}, {"width": 16, "kernel_size": 5, "stride": 1, "activation": "relu"}),
    "depthwise_conv": ({}, {"kernel_size": 3, "stride": 2, "bias": False}),
    "feed_forward": ({"expand_ratio": 2}, {"expand_ratio": 1.5, "activation": "relu"}),
    "layer_norm": ({}, {"eps": 0.1}),
    "mbconv": (
        {"width": 12, "stride": 2},
        {
            "width": 16, "kernel_size": 5, "expand_ratio": 2, "stride": 1, "stride_in": "depthwise", "se_ratio": 0,
            "activation": "relu",
        },
    ),
    "none": ({}, {}),
    "pool_project": ({"width": 12}, {"width": 16, "stride": 1, "pool": "max"}),
    "serial": ({"ops": (INNER,)}, {"ops": (INNER, {"op": "activation"})}),
}  # fmt: skip


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
            _, width, rows, columns = out.shape
            macs += 2 * width * (rows * columns) ** 2

    handles = [m.register_forward_hook(hook) for m in module.modules()]
    with torch.no_grad():
        out = module(x)
    for handle in handles:
        handle.remove()
    return macs, sum(p.numel() for p in module.parameters()), out
