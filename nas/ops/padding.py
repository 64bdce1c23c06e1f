"""Padding of convolutions: as much on either side, or as TensorFlow's "same"."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.spec import require
from nas.ops.strided import StridedConv

PADDINGS = ("centre", "same")


def same_pads(size: int, kernel_size: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Returns how much TensorFlow's "same" pads before and after `size` positions, the larger half after them."""
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel_size - 1) + 1 - size, 0)
    return total // 2, total - total // 2


def pad_same(x: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
    """Returns a convolution's input (B, C, H, W) padded as TensorFlow's "same"."""
    sizes = zip(x.shape[2:], conv.kernel_size, conv.stride, conv.dilation, strict=True)
    vertical, horizontal = (same_pads(*each) for each in sizes)
    return F.pad(x, [*horizontal, *vertical])


class SameConv(StridedConv):
    """Convolution padded as TensorFlow's "same": the larger half of an odd padding is at the end, not at the start."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(pad_same(input, self))


def padded_conv(padding: str, *sizes: int, groups: int = 1, bias: bool = True) -> nn.Conv2d:
    """Returns a convolution of the given channels in and out, kernel size and stride, padded by one of `PADDINGS`.

    At stride 1 an odd kernel has the same padding either way.
    """
    require(padding in PADDINGS, f"padding must be one of {PADDINGS}, not {padding!r}.")
    if padding == "same" and not (sizes[3] == 1 and sizes[2] % 2 == 1):
        return SameConv(*sizes, groups=groups, bias=bias)
    return StridedConv(*sizes, padding=sizes[2] // 2, groups=groups, bias=bias)
