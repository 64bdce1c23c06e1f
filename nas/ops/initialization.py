"""Linear maps, and initial weights that help short trainings more than torch's do (`experiments/initialization`)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Linear(nn.Linear):
    """Linear map over the channels of each position: (B, H, W, C) -> (B, H, W, width), or (*, C) -> (*, width).

    A batch of maps goes through a 1x1 convolution on the CPU: the same products, in about half the time that torch's
    product of matrices takes where MKL does not know the processor (`experiments/speed`).
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if input.ndim == 4 and input.is_cpu and not torch.compiler.is_exporting() and input.shape[0] > 1:
            weight = self.weight[:, :, None, None]
            return F.conv2d(input.permute(0, 3, 1, 2), weight, self.bias).permute(0, 2, 3, 1)
        return super().forward(input)


def linear(channels: int, width: int, *, bias: bool = True) -> nn.Linear:
    """Returns a linear map with Xavier's uniform weights and zero biases (Glorot and Bengio 2010), as timm's CoAtNet.

    Args:
        channels, width: Of what it reads and of what it gives.
    """
    layer = Linear(channels, width, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def zero_gamma(branch: nn.Module) -> None:
    """Zeroes the scale of the BatchNorm that a residual branch ends in, so that its layer begins as its shortcut.

    ResNet's rule (Goyal et al. 2017, arXiv:1706.02677), LeViT's too. A module whose output is that of one inside names
    it in `ends_in`; a branch that ends in anything but a BatchNorm is left alone.
    """
    while not isinstance(branch, nn.BatchNorm2d):
        last = len(branch) - 1 if isinstance(branch, nn.Sequential) else getattr(branch, "ends_in", None)
        if last is None:
            return
        branch = branch.get_submodule(str(last))
    nn.init.zeros_(branch.weight)


def open_branches(network: nn.Module) -> None:
    """Gives every BatchNorm the scale of one, for measurements that have to see through branches that begin closed."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
