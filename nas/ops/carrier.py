"""Carrier tokens: a few per window, through which windows exchange information (FasterViT, arXiv:2306.06189).

They travel in front of the map in the order of the picture, as a square of `side` x (H / window) tokens along each
side. A layer mixes them among themselves (op `apart`, with `square` around an attention), then each window together
with its own (attention with `attention_scope: carrier`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.spec import Shape, make, op, require
from nas.ops.tokens import map_of, with_tokens


@op("carrier_tokens")
class CarrierTokens(nn.Module):
    """Puts `side` x `side` carriers per window before the map: pooled output of a 3x3 depthwise convolution.

    Raises:
        ArchitectureError: If the map does not divide into windows.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        window_size: int = 7
        side: int = 2

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require(not shape.tokens, "carrier_tokens: there are tokens already.")
        height, width = shape[1:3]
        require(
            height == width and height % config.window_size == 0,
            f"carrier_tokens: a {height}x{width} map must be square and divide into windows of {config.window_size}.",
        )
        count = config.side * (height // config.window_size)
        self.stride = height // count
        self.kernel_size = height - (count - 1) * self.stride
        self.mix = nn.Conv2d(shape.channels, shape.channels, 3, padding=1, groups=shape.channels)
        self.shape = shape._replace(tokens=count * count)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        carriers = F.avg_pool2d(self.mix(x), self.kernel_size, self.stride)
        return with_tokens(carriers.flatten(2)[..., None], x)


@op("square")
class Square(nn.Module):
    """Block applied to tokens arranged as a square: (B, C, N * N, 1) in and out, (B, C, N, N) for the block."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        mixer: Any

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        count = shape.height * shape.width
        self.side = math.isqrt(count)
        require(self.side**2 == count, f"square: {count} tokens make no square.")
        require(not shape.tokens, "square: use it for the tokens of the op apart.")
        self.mixer = make(config.mixer, Shape(shape.channels, self.side, self.side))
        after = self.mixer.shape
        require(after[1:] == (self.side, self.side, *shape[3:]), "square: its block must keep the number of tokens.")
        self.shape = Shape(after.channels, shape.height, shape.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        square = x.flatten(2).unflatten(2, (self.side, self.side))
        return self.mixer(square).flatten(2).unflatten(2, self.shape[1:3])


@op("carrier_propagation")
class CarrierPropagation(nn.Module):
    """Layer that ends by adding the carriers to their windows, with one learned scale used twice (FasterViT-3 up).

    With c the carriers and m the map: c = c + scale * carriers(c), then (c, m) = after(c, m), then
    m = m + scale * c spread over c's window.

    Args:
        carriers: On the carriers as a square map, usually a norm and an attention.
        after: On everything, usually the rest of the layer.
        scale: Initial value of the scale per channel; None for none, which adds both as they are.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        carriers: Any
        after: Any
        scale: float | None = None

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        side = math.isqrt(shape.tokens)
        require(
            side > 0 and side**2 == shape.tokens,
            f"carrier_propagation: {shape.tokens} tokens make no square; insert carriers before with carrier_tokens.",
        )
        self.before = shape
        self.square = Shape(shape.channels, side, side)
        self.carriers = make(config.carriers, self.square)
        self.after = make(config.after, shape)
        for block in (self.carriers, self.after):
            require(
                block.shape.channels == shape.channels,
                f"carrier_propagation: blocks must keep {shape.channels} channels, not make {block.shape.channels}.",
            )
        scale = None if config.scale is None else torch.full((shape.channels,), float(config.scale))
        self.scale = None if scale is None else nn.Parameter(scale)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count = self.before.tokens
        carriers = x[:, :, :count].flatten(2).unflatten(2, self.square[1:3])
        carriers = carriers + self.scaled(self.carriers(carriers))
        x = self.after(with_tokens(carriers.flatten(2)[..., None], map_of(x, self.before)))
        carriers = x[:, :, :count].flatten(2).unflatten(2, self.square[1:3])
        spread = F.interpolate(carriers, self.before[1:3], mode="nearest")
        return with_tokens(x[:, :, :count], map_of(x, self.before) + self.scaled(spread))

    def scaled(self, x: torch.Tensor) -> torch.Tensor:
        """Returns anything with the carriers' channels times their learned scale."""
        return x if self.scale is None else x * self.scale[:, None, None]
