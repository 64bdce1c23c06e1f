"""Feed-forward branches of 1x1 convolutions, with optional blocks before and between them and norms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nas.ops.basic import activation_after_layer, whole
from nas.ops.spec import Shape, make, op


@op("conv_feed_forward")
class ConvFeedForward(nn.Module):
    """Wide 1x1 convolution, norm, activation, [a middle block, norm, activation,] 1x1 convolution, norm.

    With the defaults LeViT's and EfficientFormer's (arXiv:2104.01136, arXiv:2206.01191); with a depthwise middle
    EfficientFormerV2's (arXiv:2212.08059) and the inverted residual of MobileNetV2 (Sandler et al. 2018,
    arXiv:1801.04381); with a grouped 3x3 middle Visformer's (arXiv:2104.12533); with a depthwise block `before` it
    FastViT's (arXiv:2303.14189). (B, C, H, W) -> (B, width, H / stride, W / stride), the stride being the blocks' own.

    Args:
        width: Output channels; None for the input's.
        expand_ratio: Hidden channels divided by the input's.
        norm: After the first convolution, and after the middle block.
        before: A block ahead of all else.
        middle: A block on the hidden map, such as a depthwise convolution.
        out_norm: After the last convolution.
        bias: Whether the 1x1 convolutions have biases.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int | None = None
        expand_ratio: float = 4
        activation: str = "gelu"
        norm: Any = None
        before: Any = None
        middle: Any = None
        out_norm: Any = None
        bias: bool = True

    elastic: tuple[str, ...] = ("width", "expand_ratio")
    normed: tuple[tuple[str, str], ...] = (("expand", "norm"), ("middle", "middle_norm"), ("project", "out_norm"))
    ends_in = "out_norm"

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        width = config.width or shape.channels
        hidden = whole(config.expand_ratio * shape.channels, "conv_feed_forward: expand_ratio x channels")
        self.before = make(config.before, shape) if config.before else nn.Identity()
        shape = getattr(self.before, "shape", shape)
        self.expand = nn.Conv2d(shape.channels, hidden, 1, bias=config.bias)
        shape = shape._replace(channels=hidden)
        self.norm = make(config.norm, shape) if config.norm else nn.Identity()
        self.activation = activation_after_layer(config.activation)
        self.middle = None
        if config.middle:
            self.middle = make(config.middle, shape)
            shape = self.middle.shape
            self.middle_norm = make(config.norm, shape) if config.norm else nn.Identity()
            self.middle_activation = activation_after_layer(config.activation)
        self.project = nn.Conv2d(shape.channels, width, 1, bias=config.bias)
        self.shape = shape._replace(channels=width)
        self.out_norm = make(config.out_norm, self.shape) if config.out_norm else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.activation(self.norm(self.expand(self.before(x))))
        if self.middle is not None:
            x = self.middle_activation(self.middle_norm(self.middle(x)))
        return self.out_norm(self.project(x))
