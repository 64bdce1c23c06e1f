"""Convolutions that train as several branches and deploy as one (RepVGG, Ding et al. 2021, arXiv:2101.03697)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nas.ops.basic import activation_after_layer
from nas.ops.conv import ConvNorm
from nas.ops.folding import centered, identity_kernel, scale_and_shift, with_norm
from nas.ops.spec import Shape, make, op, require


@op("reparam_conv")
class ReparamConv(nn.Module):
    """Sum of branches, each with a BatchNorm, that folds to one convolution, with a gate and an activation after it.

    MobileOne's block (Vasu et al. 2023, arXiv:2206.04040) and FastViT's large-kernel one (arXiv:2303.14189).

    Args:
        width: Output channels; None for the input's.
        depthwise: One input channel per kernel; `width` may be a multiple of the input's.
        small_kernel: Kernel size of a second, smaller convolution; None for none.
        identity: A branch with the norm alone.
        gate: A block on the sum, such as squeeze_excite.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int | None = None
        kernel_size: int = 3
        stride: int = 1
        depthwise: bool = False
        small_kernel: int | None = None
        identity: bool = False
        gate: Any = None
        activation: str = "none"

        def __post_init__(self) -> None:
            small = 1 if self.small_kernel is None else self.small_kernel
            require(
                self.kernel_size % 2 == small % 2 == 1 and small <= self.kernel_size,
                f"reparam_conv: small_kernel={small} and kernel_size={self.kernel_size} must be odd and in this order.",
            )

    elastic: tuple[str, ...] = ("width", "kernel_size")

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        groups = shape.channels if config.depthwise else 1

        def branch(kernel_size: int, stride: int) -> ConvNorm:
            width = config.width or shape.channels
            return ConvNorm(ConvNorm.Config(width=width, kernel_size=kernel_size, stride=stride, groups=groups), shape)

        self.main = branch(config.kernel_size, config.stride)
        # Positions are skipped before a 1x1 convolution rather than by it: on the CPU torch 2.13 writes out of bounds
        # in the backward pass of one with a stride and few channels in channels_last.
        self.step = config.stride if config.small_kernel == 1 else 1
        self.small = branch(config.small_kernel, config.stride // self.step) if config.small_kernel else None
        self.shape = self.main.shape
        require(
            not config.identity or self.shape == shape,
            f"reparam_conv: identity needs an output like its input {shape[:3]}, not {self.shape[:3]}.",
        )
        self.identity = nn.BatchNorm2d(shape.channels) if config.identity else None
        self.gate = make(config.gate, self.shape) if config.gate else nn.Identity()
        self.activation = activation_after_layer(config.activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.main(x)
        if self.small is not None:
            y = y + self.small(x[:, :, :: self.step, :: self.step])
        if self.identity is not None:
            y = y + self.identity(x)
        return self.activation(self.gate(y))

    def fold(self) -> nn.Module:
        """Returns the convolution with the same output in eval mode, and the gate and activation after it."""
        conv = with_norm(self.main.conv, self.main.norm)
        if self.small is not None:
            small = with_norm(self.small.conv, self.small.norm)
            conv.weight += centered(small.weight, conv.kernel_size)
            conv.bias += small.bias
        if self.identity is not None:
            add_norm(conv, self.identity)
        rest = [block for block in (self.gate, self.activation) if not isinstance(block, nn.Identity)]
        return nn.Sequential(conv, *rest) if rest else conv


@op("rep_mixer")
class RepMixer(nn.Module):
    """Depthwise branches minus a norm, FastViT's mixer (Vasu et al. 2023, arXiv:2303.14189).

    In a residual branch, with its layer scale, it folds to one depthwise convolution.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        kernel_size: int = 3

    elastic: tuple[str, ...] = ("kernel_size",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        inner = ReparamConv.Config(kernel_size=config.kernel_size, depthwise=True, small_kernel=1, identity=True)
        self.mixer = ReparamConv(inner, shape)
        self.norm = nn.BatchNorm2d(shape.channels)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mixer(x) - self.norm(x)

    def fold(self) -> nn.Module:
        """Returns the depthwise convolution with the same output in eval mode."""
        # Its own parts are folded before it.
        conv = self.mixer.fold() if isinstance(self.mixer, ReparamConv) else self.mixer
        return add_norm(conv, self.norm, sign=-1)


def add_norm(conv: Any, norm: nn.BatchNorm2d, sign: int = 1) -> Any:
    """Returns a convolution with a branch that only normalizes added to it, or subtracted."""
    scale, shift = scale_and_shift(norm)
    conv.weight += sign * identity_kernel(conv) * scale[:, None, None, None]
    conv.bias += sign * shift
    return conv
