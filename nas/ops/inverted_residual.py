"""The inverted residual of mobile convolutional networks, norms after convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from nas.ops.basic import activation_after_layer, whole
from nas.ops.conv import SqueezeExcite, reduced
from nas.ops.padding import padded_conv
from nas.ops.spec import Shape, op, require, require_map


@op("inverted_residual")
class InvertedResidual(nn.Module):
    """MBConv of MobileNetV2, MnasNet and EfficientNet (arXiv:1801.04381, arXiv:1807.11626, arXiv:1905.11946).

    1x1 expansion, BN, activation, depthwise, BN, activation, squeeze-excite, 1x1 projection, BN; no biases but
    squeeze-excite's. Hidden and squeezed width follow from the *input* width, unlike those of `mbconv`; with an
    expansion of 1 there is none. (B, C, H, W) -> (B, width, H / stride, W / stride).

    Args:
        expand_ratio: Hidden channels divided by the input's.
        se_ratio: Squeezed channels divided by the input's; 0 for no squeeze-excite.
        eps, momentum: Of the norms, torch's defaults.
        padding: Of the depthwise convolution: "centre", or "same" for TensorFlow's (EfficientNet's released weights).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int
        kernel_size: int = 3
        expand_ratio: float = 6
        stride: int = 1
        se_ratio: float = 0
        activation: str = "relu"
        eps: float = 1e-5
        momentum: float = 0.1
        padding: str = "centre"

        def __post_init__(self) -> None:
            require(self.kernel_size % 2 == 1, f"inverted_residual: kernel_size (={self.kernel_size}) must be odd.")

    elastic: tuple[str, ...] = ("width", "kernel_size", "expand_ratio")
    normed: tuple[tuple[str, str], ...] = (("expand", "norm1"), ("depthwise", "norm2"), ("project", "norm3"))

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require_map("inverted_residual", shape)
        k, s, width, c = config.kernel_size, config.stride, config.width, shape.channels

        def norm(channels: int) -> nn.BatchNorm2d:
            return nn.BatchNorm2d(channels, eps=config.eps, momentum=config.momentum)

        hidden = whole(config.expand_ratio * c, "inverted_residual: expand_ratio x channels")
        expands = config.expand_ratio != 1
        self.expand = nn.Conv2d(c, hidden, 1, bias=False) if expands else nn.Identity()
        self.norm1 = norm(hidden) if expands else nn.Identity()
        self.activation1 = activation_after_layer(config.activation if expands else "none")
        self.depthwise = padded_conv(config.padding, hidden, hidden, k, s, groups=hidden, bias=False)
        self.norm2 = norm(hidden)
        self.activation2 = activation_after_layer(config.activation)
        squeezed = whole(config.se_ratio * c, "inverted_residual: se_ratio x channels") if config.se_ratio else 0
        gate = SqueezeExcite.Config(rd_channels=squeezed, activation=config.activation) if squeezed else None
        inner = Shape(hidden, *reduced(shape, s))
        self.squeeze_excite = SqueezeExcite(gate, inner) if gate else nn.Identity()
        self.project = nn.Conv2d(hidden, width, 1, bias=False)
        self.norm3 = norm(width)
        self.shape = inner._replace(channels=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.activation1(self.norm1(self.expand(x)))
        x = self.activation2(self.norm2(self.depthwise(x)))
        return self.norm3(self.project(self.squeeze_excite(x)))
