"""Norms, activations, plain convolutions and how blocks combine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.spec import Shape, make, op, require

ACTIVATIONS = {
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "hardswish": nn.Hardswish,
    "none": nn.Identity,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def activation(name: str) -> nn.Module:
    """A new activation module by name."""
    require(name in ACTIVATIONS, f"activation must be one of {', '.join(ACTIVATIONS)}, not {name!r}.")
    return ACTIVATIONS[name]()


def whole(value: float, what: str) -> int:
    """`value` as an int; a width that is not whole cannot be built."""
    require(
        abs(value - round(value)) < 1e-6 and value >= 1,
        f"{what} must be a whole number of channels, not {value:g}.",
    )
    return round(value)


@op("batch_norm")
class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation over a feature map (Ioffe and Szegedy 2015).

    `momentum` is torch's: 0.01 is what TensorFlow and CoAtNet call 0.99.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        eps: float = 1e-3
        momentum: float = 0.01

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(shape.channels, eps=config.eps, momentum=config.momentum)
        self.shape = shape


@op("layer_norm")
class LayerNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each position (Ba et al. 2016); (B, C, H, W) in and out."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        eps: float = 1e-5

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(shape.channels, eps=config.eps)
        self.shape = shape

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        # Not self.normalized_shape: a supernet binds other widths to the same module.
        x = input.permute(0, 2, 3, 1)
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


@op("activation")
class Activation(nn.Module):
    """An activation as a block of its own."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        name: str = "gelu"

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.function = activation(config.name)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


@op("conv")
class Conv(nn.Conv2d):
    """Plain convolution. `padding` None keeps the size at stride 1 (k // 2); 0 patchifies."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int
        kernel_size: int = 3
        stride: int = 1
        padding: int | None = None
        groups: int = 1
        bias: bool = True

        def __post_init__(self) -> None:
            require(
                self.kernel_size >= 1 and self.stride >= 1,
                "conv needs a kernel_size and a stride of 1 or more.",
            )

    elastic: tuple[str, ...] = ("width", "kernel_size")

    def __init__(self, config: Config, shape: Shape) -> None:
        k, s = config.kernel_size, config.stride
        pad = k // 2 if config.padding is None else config.padding
        for channels, what in ((shape.channels, "input channels"), (config.width, "width")):
            require(
                channels % config.groups == 0,
                f"conv: {what} (={channels}) must divide by groups (={config.groups}).",
            )
        height, width = ((size + 2 * pad - k) // s + 1 for size in (shape.height, shape.width))
        require(
            min(height, width) >= 1,
            f"conv: a {k}x{k} kernel does not fit a {shape.height}x{shape.width} map.",
        )
        super().__init__(shape.channels, config.width, k, s, pad, groups=config.groups, bias=config.bias)
        self.shape = Shape(config.width, height, width)


@op("depthwise_conv")
class DepthwiseConv(nn.Conv2d):
    """One kernel per channel, padded to keep the size at stride 1."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        kernel_size: int = 7
        stride: int = 1
        bias: bool = True

        def __post_init__(self) -> None:
            require(self.kernel_size % 2 == 1, f"depthwise_conv: kernel_size (={self.kernel_size}) must be odd.")

    elastic: tuple[str, ...] = ("kernel_size",)

    def __init__(self, config: Config, shape: Shape) -> None:
        c, k, s = shape.channels, config.kernel_size, config.stride
        super().__init__(c, c, k, s, k // 2, groups=c, bias=config.bias)
        self.shape = Shape(c, -(-shape.height // s), -(-shape.width // s))


@op("feed_forward")
class FeedForward(nn.Module):
    """Two linear maps over the channels of each position with an activation between them."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        expand_ratio: float = 4
        activation: str = "gelu"

    elastic: tuple[str, ...] = ("expand_ratio",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        hidden = whole(config.expand_ratio * shape.channels, "feed_forward: expand_ratio x channels")
        self.expand = nn.Linear(shape.channels, hidden)
        self.activation = activation(config.activation)
        self.project = nn.Linear(hidden, shape.channels)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.project(self.activation(self.expand(x.permute(0, 2, 3, 1))))
        return x.permute(0, 3, 1, 2)


@op("serial")
class Serial(nn.Sequential):
    """Blocks applied one after another."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        ops: tuple[Any, ...]

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        blocks = []
        for node in config.ops:
            blocks.append(make(node, shape))
            shape = blocks[-1].shape
        super().__init__(*blocks)
        self.shape = shape


@op("none")
class NoShortcut(nn.Module):
    """As a shortcut: no residual connection."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        pass

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros((), device=x.device, dtype=x.dtype)
