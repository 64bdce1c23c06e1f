"""Attention among channels instead of positions, and EdgeNeXt's other mixers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.attention import Projected
from nas.ops.initialization import linear
from nas.ops.spec import Shape, op, require, require_divisor


@op("channel_attention")
class ChannelAttention(nn.Module):
    """Cross-covariance attention: the channels of a head attend to one another (XCiT, arXiv:2106.09681).

    q, k and v are (C / heads, positions) per head; q and k are brought to length one over the positions; then
    softmax(q k^T * temperature) v, with a learned temperature per head, and a projection. The work grows linearly
    with the map.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        num_heads: int = 8
        qkv_bias: bool = True
        out_bias: bool = True

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        c = shape.channels
        require_divisor("channel_attention", "num_heads", config.num_heads, "channels", c)
        self.heads = config.num_heads
        self.temperature = nn.Parameter(torch.ones(config.num_heads))
        self.q, self.k, self.v = (Projected(shape, c, None, bias=config.qkv_bias) for _ in range(3))
        self.project = linear(c, c, bias=config.out_bias)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (each(x).flatten(2).unflatten(1, (self.heads, -1)) for each in (self.q, self.k, self.v))
        q, k = F.normalize(q, dim=3), F.normalize(k, dim=3)
        weights = ((q @ k.transpose(2, 3)) * self.temperature[:, None, None]).softmax(3)
        mixed = (weights @ v).flatten(1, 2).unflatten(2, x.shape[2:])
        return self.project(mixed.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@op("cascade_conv")
class CascadeConv(nn.Module):
    """Cascade of depthwise convolutions over groups of channels: each group's output is added to the next one's input.

    EdgeNeXt's split encoder (Maaz et al. 2022, arXiv:2206.10589), after Res2Net (arXiv:1904.01169). The last group,
    the smaller one where channels do not divide evenly, passes unchanged.

    Args:
        groups: Of channels; all but the last have a convolution.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        groups: int
        kernel_size: int = 3

        def __post_init__(self) -> None:
            require(self.groups >= 2, f"cascade_conv: groups (={self.groups}) must be 2 or more.")
            require(self.kernel_size % 2 == 1, f"cascade_conv: kernel_size (={self.kernel_size}) must be odd.")

    elastic: tuple[str, ...] = ("kernel_size",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        k, size = config.kernel_size, math.ceil(shape.channels / config.groups)
        last = shape.channels - size * (config.groups - 1)
        require(
            last > 0, f"cascade_conv: {shape.channels} channels do not make {config.groups} groups; take fewer groups."
        )
        require(not shape.tokens, "cascade_conv: tokens have no neighbors; drop them before.")
        self.sizes = [size] * (config.groups - 1) + [last]
        self.convs = nn.ModuleList(nn.Conv2d(size, size, k, 1, k // 2, groups=size) for _ in self.sizes[1:])
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = x.split(self.sizes, 1)
        done: list[torch.Tensor] = []
        for conv, part in zip(self.convs, parts, strict=False):
            done.append(conv(part + done[-1] if done else part))
        return torch.cat([*done, parts[-1]], 1)


@op("fourier_position")
class FourierPosition(nn.Module):
    """Adds a linear map of sines and cosines of each position, y's first and then x's (XCiT, arXiv:2106.09681).

    The waves have fixed lengths and run once over the map, so that nothing belongs to one resolution.

    Args:
        waves: Sines and cosines for each of y and x.
        temperature: The longest wave's length in units of the shortest's.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        waves: int = 32
        temperature: float = 10_000

        def __post_init__(self) -> None:
            require(self.waves % 2 == 0, f"fourier_position: waves (={self.waves}) must be even.")

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require(not shape.tokens, "fourier_position: tokens have no place; drop them before.")
        self.waves, self.temperature = config.waves, config.temperature
        self.project = nn.Conv2d(2 * config.waves, shape.channels, 1)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        rows, columns = (self.features(size, x) for size in (height, width))
        rows = rows[:, :, None].expand(-1, -1, width)
        columns = columns[:, None].expand(-1, height, -1)
        return x + self.project(torch.cat([rows, columns])[None])

    def features(self, size: int, like: torch.Tensor) -> torch.Tensor:
        """Returns (waves, size): a sine and a cosine of each length in turn, at places 1 to `size` of `size`."""
        places = torch.arange(1, size + 1, device=like.device, dtype=torch.float32) * (2 * math.pi / (size + 1e-6))
        steps = torch.arange(self.waves // 2, device=like.device, dtype=torch.float32) * (2 / self.waves)
        angles = places / self.temperature ** steps[:, None]
        return torch.stack([angles.sin(), angles.cos()], 1).flatten(0, 1).to(like.dtype)
