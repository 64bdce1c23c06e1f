"""Initial weights that help short trainings more than torch's defaults do (`experiments/initialization`)."""

from __future__ import annotations

from torch import nn


def linear(channels: int, width: int, *, bias: bool = True) -> nn.Linear:
    """Returns a linear map with Xavier's uniform weights and zero biases (Glorot and Bengio 2010), as timm's CoAtNet.

    Args:
        channels, width: Of what it reads and of what it gives.
    """
    layer = nn.Linear(channels, width, bias=bias)
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
