"""Memories: tokens that a block leaves for the attention of later blocks (FcaFormer, arXiv:2211.07198)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.conv import reduced
from nas.ops.spec import Shape, op, require
from nas.ops.tokens import map_of, with_tokens


@op("remember")
class Remember(nn.Module):
    """Appends tokens that are a coarse copy of the map, by a strided depthwise convolution.

    (B, C, T + H * W, 1) or, at first, (B, C, H, W) -> (B, C, T + t + H * W, 1) with t = ceil(H / s) * ceil(W / s).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        kernel_size: int = 7
        stride: int = 4
        bias: bool = False

        def __post_init__(self) -> None:
            require(self.kernel_size % 2 == 1, f"remember: kernel_size (={self.kernel_size}) must be odd.")

    elastic: tuple[str, ...] = ("kernel_size",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        c, k, s = shape.channels, config.kernel_size, config.stride
        self.merge = nn.Conv2d(c, c, k, s, k // 2, groups=c, bias=config.bias)
        self.before = shape
        height, width = reduced(shape, s)
        self.shape = shape._replace(tokens=shape.tokens + height * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = map_of(x, self.before)
        tokens = self.merge(places).flatten(2)[..., None]
        if self.before.tokens:
            tokens = torch.cat([x[:, :, : self.before.tokens], tokens], 2)
        return with_tokens(tokens, places)


@op("position_scale")
class PositionScale(nn.Module):
    """Learned factor per position, the same for all channels, that starts at one and weighs each memory."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        pass

    elastic: tuple[str, ...] = ()
    no_decay: tuple[str, ...] = ("factors",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.ones(shape.tensor[1:]))
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factors

    def resized(self, name: str, found: torch.Tensor) -> torch.Tensor:
        """Returns the factors of another number of positions resized to this one."""
        size = self.factors.shape
        return F.interpolate(found[None, None], size, mode="bilinear", align_corners=True)[0, 0]
