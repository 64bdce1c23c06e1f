"""The convolution side: stem, inverted residual, pooled shortcut."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.basic import activation, whole
from nas.ops.spec import Shape, op, require


def pool_half(x: torch.Tensor, stride: int, kind: str) -> torch.Tensor:
    """Pools non-overlapping `stride` x `stride` windows; a window cut off by the edge pools what it has."""
    pool = F.avg_pool2d if kind == "average" else F.max_pool2d
    return pool(x, stride, ceil_mode=True)


def reduced(shape: Shape, stride: int) -> tuple[int, int]:
    """Height and width after a stride, rounded up."""
    return -(-shape.height // stride), -(-shape.width // stride)


@op("conv_stem")
class ConvStem(nn.Module):
    """CoAtNet's stem S0 (Dai et al. 2021, arXiv:2106.04803): conv, BN, activation, conv; all biased.

    Nothing follows the last convolution, since the next block normalises first.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int
        kernel_size: int = 3
        stride: int = 2
        activation: str = "gelu"

    elastic: tuple[str, ...] = ("width", "kernel_size")

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        k, width = config.kernel_size, config.width
        require(k % 2 == 1, f"conv_stem: kernel_size (={k}) must be odd.")
        self.first = nn.Conv2d(shape.channels, width, k, config.stride, k // 2)
        self.norm = nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)
        self.activation = activation(config.activation)
        self.second = nn.Conv2d(width, width, k, 1, k // 2)
        self.shape = Shape(width, *reduced(shape, config.stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.activation(self.norm(self.first(x))))


@op("squeeze_excite")
class SqueezeExcite(nn.Module):
    """Channel gate from the mean over positions (Hu et al. 2018, arXiv:1709.01507).

    Args:
        width: Squeezed channels.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int
        activation: str = "silu"
        gate: str = "sigmoid"

    elastic: tuple[str, ...] = ("width",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(shape.channels, config.width, 1)
        self.activation = activation(config.activation)
        self.excite = nn.Conv2d(config.width, shape.channels, 1)
        self.gate = activation(config.gate)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(self.excite(self.activation(self.squeeze(x.mean((2, 3), keepdim=True)))))


@op("mbconv")
class MBConv(nn.Module):
    """Inverted residual branch (Sandler et al. 2018, arXiv:1801.04381) as CoAtNet has it.

    1x1 expansion, BN, activation, depthwise, BN, activation, squeeze-excite, 1x1 projection. The branch's own norm
    comes before it (pre-activation); the hidden width is `expand_ratio` x the *output* width; the squeezed width is
    `se_ratio` x the output width.

    Args:
        stride_in: Which convolution carries the stride: "expand" (the paper's default rows) or "depthwise" (its
            dagger rows, MaxViT).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int
        kernel_size: int = 3
        expand_ratio: float = 4
        stride: int = 1
        stride_in: str = "expand"
        se_ratio: float = 0.25
        activation: str = "gelu"

        def __post_init__(self) -> None:
            require(self.kernel_size % 2 == 1, f"mbconv: kernel_size (={self.kernel_size}) must be odd.")
            places = ("expand", "depthwise")
            require(
                self.stride_in in places,
                f"mbconv: stride_in must be one of {places}, not {self.stride_in!r}.",
            )

    elastic: tuple[str, ...] = ("width", "kernel_size", "expand_ratio")

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        k, s, width = config.kernel_size, config.stride, config.width
        hidden = whole(config.expand_ratio * width, "mbconv: expand_ratio x width")
        expand_stride, depthwise_stride = (s, 1) if config.stride_in == "expand" else (1, s)
        self.expand = nn.Conv2d(shape.channels, hidden, 1, expand_stride, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden, eps=1e-3, momentum=0.01)
        self.activation = activation(config.activation)
        self.depthwise = nn.Conv2d(hidden, hidden, k, depthwise_stride, k // 2, groups=hidden, bias=False)
        self.norm2 = nn.BatchNorm2d(hidden, eps=1e-3, momentum=0.01)
        squeezed = whole(config.se_ratio * width, "mbconv: se_ratio x width") if config.se_ratio else 0
        inner = Shape(hidden, *reduced(shape, s))
        self.squeeze_excite = SqueezeExcite(SqueezeExcite.Config(width=squeezed), inner) if squeezed else nn.Identity()
        self.project = nn.Conv2d(hidden, width, 1)
        self.shape = Shape(width, *reduced(shape, s))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.activation(self.norm1(self.expand(x)))
        x = self.activation(self.norm2(self.depthwise(x)))
        return self.project(self.squeeze_excite(x))


@op("pool_project")
class PoolProject(nn.Module):
    """Shortcut of a downsampling block: pool, then a biased 1x1 convolution where the width changes."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int
        stride: int = 2
        pool: str = "average"

        def __post_init__(self) -> None:
            kinds = ("average", "max")
            require(self.pool in kinds, f"pool_project: pool must be one of {kinds}, not {self.pool!r}.")

    elastic: tuple[str, ...] = ("width",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.stride, self.pool = config.stride, config.pool
        changes = config.width != shape.channels
        self.project = nn.Conv2d(shape.channels, config.width, 1) if changes else nn.Identity()
        self.shape = Shape(config.width, *reduced(shape, config.stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride > 1:
            x = pool_half(x, self.stride, self.pool)
        return self.project(x)
