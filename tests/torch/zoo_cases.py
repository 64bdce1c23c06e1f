"""The zoo as tests see it: each network's description, and which of them run for real."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import nn

import nas
from nas.architecture import Architecture, LayerConfig
from nas.networks.loading import load_architecture
from nas.spaces.catalog import read_architecture, zoo_names

from .zoo_expected import Expected, all_expected

NAMES = zoo_names()
EXPECTED: dict[str, Expected] = all_expected()
# The largest network that is given memory, and the most work that is no slow test (seconds for a batch of two).
MOST_PARAMS, QUICK_MACS = 40_000_000, 1_500_000_000


@cache
def about(name: str) -> dict[str, Any]:
    """What its file says of a network."""
    return read_architecture(name)[1]


@cache
def architecture(name: str) -> Architecture:
    return load_architecture(name)


def figures(name: str) -> tuple[int, float]:
    """Parameters and multiply-adds, as expected where they are known: nothing is counted while tests are collected."""
    params, giga_macs, _ = EXPECTED.get(name, (None, None, ""))
    if params is None or giga_macs is None:
        cost = nas.cost(architecture(name))
        return params or cost.params, giga_macs * 1e9 if giga_macs else cost.macs
    return params, giga_macs * 1e9


def families() -> dict[str, list[str]]:
    """Family -> its networks, smallest first."""
    found: dict[str, list[str]] = {}
    for name in NAMES:
        found.setdefault(about(name)["family"], []).append(name)
    return {family: sorted(names, key=lambda name: figures(name)[0]) for family, names in found.items()}


def for_real() -> list[str]:
    """The smallest network of each family, but for those that are large even so."""
    smallest = [names[0] for names in families().values()]
    return [name for name in smallest if figures(name)[0] < MOST_PARAMS]


def is_quick(name: str) -> bool:
    return figures(name)[1] <= QUICK_MACS


def shortened(whole: Architecture) -> Architecture:
    """The same network with one of equal runs of layers in a row, which has the same to show as twenty."""
    stages = tuple(replace(stage, layers=without_repeats(stage.layers)) for stage in whole.stages)
    return replace(whole, stages=stages)


def without_repeats(layers: tuple[LayerConfig, ...]) -> tuple[LayerConfig, ...]:
    """A B B B C B C is A B C."""
    found: list[LayerConfig] = []
    for layer in layers:
        found.append(layer)
        for length in range(1, len(found) // 2 + 1):
            if found[-length:] == found[-2 * length : -length]:
                del found[-length:]
                break
    return tuple(found)


def perturbed(network: nn.Module, seed: int = 0) -> Any:
    """A network none of whose parameters is special: what starts as zero, one or a small layer scale is moved."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim <= 1 or float(parameter.std()) < 1e-3:
                parameter.add_(0.4 * torch.rand(parameter.shape, generator=generator) - 0.2)
    return network


def settled(network: Any, images: torch.Tensor, seed: int = 0) -> Any:
    """A network in eval mode whose running statistics are near those of `images`, but not equal to them.

    Fresh statistics (zero and one) let the signal die out or explode, so that every image looks the same.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(images)
        generator = torch.Generator().manual_seed(seed)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            noise = torch.rand((2, norm.num_features), generator=generator)
            norm.running_mean.add_((0.6 * noise[0] - 0.3) * norm.running_var.sqrt())
            norm.running_var.mul_(0.7 + 0.6 * noise[1])
    return network.eval()
