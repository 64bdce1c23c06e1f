"""Convolutions with a stride."""

from __future__ import annotations

import torch
from torch import nn

LEAST_CHANNELS = 8
"""On CPUs with AVX2 and without AVX-512 oneDNN's backward pass of a 1x1 convolution with a stride and fewer input
channels than this writes past the end of its buffer, which ends the process (torch 2.13)."""


class StridedConv(nn.Conv2d):
    """As torch's, with its results; a 1x1 one of few channels with a stride takes every stride-th position alone."""

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        thins = self.kernel_size == (1, 1) and self.stride != (1, 1) and self.padding in (0, (0, 0))
        if thins and self.in_channels < LEAST_CHANNELS:
            down, right = self.stride
            return torch.conv2d(input[:, :, ::down, ::right], weight, bias, groups=self.groups)
        return super()._conv_forward(input, weight, bias)
