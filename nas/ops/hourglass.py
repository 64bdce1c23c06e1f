"""Blocks that work at a lower resolution: upsampling again, and fusing both resolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nas.ops.basic import activation
from nas.ops.spec import Shape, make, op, require


@op("transposed_conv")
class TransposedConv(nn.ConvTranspose2d):
    """Transposed depthwise convolution without overlap: each position becomes a square of them."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        scale_factor: int = 2
        bias: bool = True

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        require(not shape.tokens, "transposed_conv: tokens have no place; drop them before.")
        c, f = shape.channels, config.scale_factor
        super().__init__(c, c, f, f, groups=c, bias=config.bias)
        self.shape = Shape(c, shape.height * f, shape.width * f)


@op("gated_fusion")
class GatedFusion(nn.Module):
    """Block whose output gates its own input, fused with it (SBCFormer, Lu et al. 2024, arXiv:2311.03747).

    With y = inner(x): a 1x1 convolution of y and x * gate(BN(1x1 convolution of y)), side by side, and BN. The inner
    block may go to a lower resolution, but must come back: (B, C, H, W) in and out.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        inner: Any
        gate: str = "hardsigmoid"

    elastic: tuple[str, ...] = ()
    normed: tuple[tuple[str, str], ...] = (("project", "norm"), ("fuse", "fuse_norm"))

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.inner = make(config.inner, shape)
        require(
            tuple(self.inner.shape) == tuple(shape),
            f"gated_fusion: its inner block must give {tuple(shape[:3])} (channels, height, width) as it gets, "
            f"not {tuple(self.inner.shape[:3])}.",
        )
        c = shape.channels
        self.project = nn.Conv2d(c, c, 1, bias=False)
        self.norm = nn.BatchNorm2d(c)
        self.gate = activation(config.gate)
        self.fuse = nn.Conv2d(2 * c, c, 1, bias=False)
        self.fuse_norm = nn.BatchNorm2d(c)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        gated = x * self.gate(self.norm(self.project(y)))
        return self.fuse_norm(self.fuse(torch.cat([y, gated], 1)))
