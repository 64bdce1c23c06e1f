"""What the proxies look at: weights that are layers', gradients by them, inputs of activations, outputs of layers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from nas.model import Network

T = TypeVar("T")
AbsoluteGradients: TypeAlias = tuple[Network, list[tuple[nn.Module, torch.Tensor, torch.Tensor]]]
"""A network of absolute weights; its layers, each with its weight and the gradient by it."""

NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
# Every kind that an activation op builds, smooth ones included: where the input's sign decides, or nearly.
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probe:
    """A few training images, normalised: (N, C, R, R) float with labels (N,), and the seed of all noise."""

    images: torch.Tensor
    labels: torch.Tensor
    seed: int = 0

    @property
    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.images, self.labels

    def halves(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The images as two batches."""
        return list(zip(self.images.chunk(2), self.labels.chunk(2), strict=True))

    def generator(self) -> torch.Generator:
        """Of draws on the CPU, the same wherever the images are."""
        return torch.Generator().manual_seed(self.seed)

    def noise(self, generator: torch.Generator) -> torch.Tensor:
        """Normal noise in the place of the images."""
        return torch.randn(self.images.shape, generator=generator).to(self.images)


class Probed:
    """A network under a probe, where what several proxies look at is computed once.

    Only the last such thing is kept, since gradients are as large as the network: ask proxies that share one in turn.
    """

    def __init__(self, network: Network, probe: Probe) -> None:
        self.network, self.probe = network, probe
        self._kept: tuple[str, Any] | None = None

    def shared(self, name: str, make: Callable[[], T]) -> T:
        """What goes by that name, made if it was not the last."""
        if self._kept is None or self._kept[0] != name:
            self._kept = None  # before the next is made, not after
            self._kept = (name, make())
        return self._kept[1]


def weights(network: nn.Module) -> list[tuple[nn.Module, torch.Tensor]]:
    """The weights of convolutions and linear maps, with their modules: what the proxies mean by "layers"."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear)
    return [(m, m.weight) for m in network.modules() if isinstance(m, kinds) and m.weight.requires_grad]


def without_norms(network: Network) -> Network:
    """A float64 copy with every norm an identity, so that signals keep their size through it.

    So is every tanh: at that size it has no slope left, and no gradient would reach the layers before it.
    """
    copied = copy.deepcopy(network).double()
    for module in copied.modules():
        if isinstance(module, (*NORMS, nn.Tanh)):
            module.forward = _same  # type: ignore[method-assign]
    return copied


def loss_gradients(network: Network, images: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
    """Gradients of the cross-entropy by every layer's weight, in train mode."""
    network.train()
    loss = F.cross_entropy(network(images), labels)
    found = torch.autograd.grad(loss, [weight for _, weight in weights(network)], allow_unused=True)
    return [torch.zeros((), device=images.device) if each is None else each.detach() for each in found]


def absolute_gradients(network: Network, probe: Probe) -> AbsoluteGradients:
    """A float64 copy of absolute weights without norms, and its layers with their weights and gradients.

    The gradients are of the summed output for an image of ones; layers that it does not depend on are left out.
    """
    copied = without_norms(network).eval()
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.abs_()
    out = copied(torch.ones_like(probe.images[:1], dtype=torch.float64)).sum()
    found = weights(copied)
    gradients = torch.autograd.grad(out, [weight for _, weight in found], allow_unused=True)
    pairs = zip(found, gradients, strict=True)
    return copied, [(module, weight.detach(), each) for (module, weight), each in pairs if each is not None]


def entropies(network: Network, probe: Probe) -> list[float]:
    """Per layer, the entropy of the normalised eigenvalues of its features' covariance over images and positions.

    The images are noise.
    """
    found: list[float] = []

    def note(_: nn.Module, __: torch.Tensor, out: torch.Tensor) -> None:
        features = out.detach().transpose(0, 1).flatten(1).double()
        features = features - features.mean(1, keepdim=True)
        values = torch.linalg.eigvalsh(features @ features.T / features.shape[1]).clamp_min(0)
        shares = values / values.sum().clamp_min(1e-12)
        found.append(-(shares * (shares + 1e-12).log()).sum().item())

    with watching(layers(network), note), torch.no_grad():
        network.train().forward_features(probe.noise(probe.generator()))
    return found


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
