"""Folding by hand: what modules that train as several branches and deploy as one convolution have in common.

A module that can be folded has a method `fold()` that returns the module to put in its place; one that applies a
BatchNorm right after a convolution or linear map names both in `normed`. `nas.networks.fold` folds whole networks.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


def takes_scales(layer: Any) -> bool:
    """Whether a factor per output channel can be folded into a layer's weight.

    Not where the layer standardizes it, which would undo that: such a layer's class says `foldable = False`.
    """
    return isinstance(layer, nn.Conv2d | nn.Linear) and getattr(layer, "foldable", True)


def with_norm(layer: Any, norm: nn.BatchNorm2d) -> Any:
    """Returns a convolution or linear map and the BatchNorm after it as one layer with a bias."""
    scale, shift = scale_and_shift(norm)
    joined = copy.deepcopy(layer)
    bias = shift if layer.bias is None else shift + layer.bias * scale
    joined.weight = nn.Parameter(layer.weight * scale.reshape(-1, *[1] * (layer.weight.ndim - 1)))
    joined.bias = nn.Parameter(bias)
    return joined


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns what a BatchNorm multiplies by and adds in eval mode, per channel."""
    assert norm.running_mean is not None, "a BatchNorm without running averages cannot be folded"
    assert norm.running_var is not None, "a BatchNorm without running averages cannot be folded"
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def identity_kernel(conv: nn.Conv2d) -> torch.Tensor:
    """Returns the weight with which a convolution of this form is the identity."""
    kernel, inside = torch.zeros_like(conv.weight), conv.in_channels // conv.groups
    out = torch.arange(conv.out_channels, device=kernel.device)
    kernel[out, out % inside, conv.kernel_size[0] // 2, conv.kernel_size[1] // 2] = 1
    return kernel


def centered(kernel: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Returns a kernel (out, in, k, k) in the middle of a larger one of zeros."""
    tall, wide = size[0] - kernel.shape[2], size[1] - kernel.shape[3]
    return F.pad(kernel, (wide // 2, wide // 2, tall // 2, tall // 2))
