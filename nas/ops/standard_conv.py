"""Convolutions whose weights are standardized to mean zero and variance one before use."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nas.ops.padding import SameConv
from nas.ops.spec import Shape, op, require_map


@op("standard_conv")
class StandardConv(SameConv):
    """Weight-standardized convolution without bias (Qiao et al. 2019, arXiv:1903.10520), padded as TensorFlow's "same".

    Of BiT's ResNets (arXiv:1912.11370), which R50+ViT has before its encoder: (B, C, H, W) -> (B, width, H/s, W/s).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int
        kernel_size: int = 3
        stride: int = 1
        eps: float = 1e-8

    elastic: tuple[str, ...] = ()

    foldable = False

    def __init__(self, config: Config, shape: Shape) -> None:
        require_map("standard_conv", shape)
        super().__init__(shape.channels, config.width, config.kernel_size, config.stride, bias=False)
        self.eps = config.eps
        self.shape = Shape(config.width, -(-shape.height // config.stride), -(-shape.width // config.stride))

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        variance, mean = torch.var_mean(weight, (1, 2, 3), correction=0, keepdim=True)
        return super()._conv_forward(input, (weight - mean) * (variance + self.eps).rsqrt(), bias)
