"""What the proxies look at: weights that are layers', inputs of activations, outputs of layers; norms switched off."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from nas.model import Network

NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
# Every kind that an activation op builds, smooth ones included: where the input's sign decides, or nearly.
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish)


def weights(network: nn.Module) -> list[tuple[nn.Module, torch.Tensor]]:
    """The weights of convolutions and linear maps, with their modules: what the proxies mean by "layers"."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear)
    return [(m, m.weight) for m in network.modules() if isinstance(m, kinds) and m.weight.requires_grad]


def without_norms(network: Network) -> Network:
    """A float64 copy with every norm an identity, so that signals keep their size through it."""
    copied = copy.deepcopy(network).double()
    for module in copied.modules():
        if isinstance(module, NORMS):
            module.forward = _same  # type: ignore[method-assign]
    return copied


@contextmanager
def watching(
    modules: Iterable[nn.Module], note: Callable[[nn.Module, torch.Tensor, torch.Tensor], None]
) -> Generator[None, None, None]:
    """Calls `note(module, input, output)` for each forward pass of the modules."""

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        note(module, inputs[0], output)

    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def layers(network: Network) -> list[nn.Module]:
    """The network's layers in order, the stem first."""
    return [network.stem, *(layer for stage in network.stages for layer in stage.layers)]  # type: ignore[union-attr]


def _same(x: torch.Tensor) -> torch.Tensor:
    return x
