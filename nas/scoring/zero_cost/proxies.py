"""Zero-cost proxies, each as its paper has it where that is right for convolution and attention alike.

All are higher-is-better and deterministic for a network and a probe. They read initial weights; none is fitted to
anything. Where a paper's proxy was made for ReLU or BatchNorm networks, what stands in for them is said here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from nas.model import Network
from nas.ops.attention import Attention
from nas.registry import Registry
from nas.scoring.zero_cost.probing import ACTIVATIONS, NORMS, layers, watching, weights, without_norms


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probe:
    """A few training images, normalised: (N, C, R, R) float with labels (N,), and the seed of all noise."""

    images: torch.Tensor
    labels: torch.Tensor
    seed: int = 0

    def halves(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The images as two batches."""
        return list(zip(self.images.chunk(2), self.labels.chunk(2), strict=True))

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


PROXIES: Registry[Callable[[Network, Probe], float]] = Registry("zero-cost proxy")


def _loss_gradients(network: Network, images: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
    """Gradients of the cross-entropy by every layer's weight, in train mode."""
    network.train()
    loss = F.cross_entropy(network(images), labels)
    found = torch.autograd.grad(loss, [weight for _, weight in weights(network)], allow_unused=True)
    return [torch.zeros(()) if each is None else each.detach() for each in found]


def _absolute_gradients(
    network: Network, probe: Probe
) -> tuple[Network, list[tuple[nn.Module, torch.Tensor, torch.Tensor]]]:
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


@PROXIES.register("grad_norm")
def grad_norm(network: Network, probe: Probe) -> float:
    """Sum over layers of the gradient's norm (Abdelfattah et al. 2021, arXiv:2101.08134)."""
    return sum(each.norm().item() for each in _loss_gradients(network, probe.images, probe.labels))


@PROXIES.register("snip")
def snip(network: Network, probe: Probe) -> float:
    """Sum of |weight x gradient| (Lee et al. 2019, arXiv:1810.02340)."""
    gradients = _loss_gradients(network, probe.images, probe.labels)
    pairs = zip(weights(network), gradients, strict=True)
    return sum((weight.detach() * gradient).abs().sum().item() for (_, weight), gradient in pairs)


@PROXIES.register("synflow")
def synflow(network: Network, probe: Probe) -> float:
    """Logarithm of the sum of |weight| x gradient of the summed output for an image of ones (Tanaka et al. 2020,
    arXiv:2006.05467): on absolute weights in float64, norms switched off since they would undo their size.
    """
    _, found = _absolute_gradients(network, probe)
    total = sum((weight * gradient).sum().item() for _, weight, gradient in found)
    return math.log(total) if total > 0 else -math.inf


@PROXIES.register("nwot")
def nwot(network: Network, probe: Probe) -> float:
    """Log-determinant of how alike images' activation patterns are (Mellor et al. 2021, arXiv:2006.04647).

    The pattern is the sign of every activation's input, of GELU, SiLU and hardswish as of ReLU.
    """
    count = len(probe.images)
    kernel = torch.zeros(count, count, dtype=torch.float64)

    def note(_: nn.Module, x: torch.Tensor, __: torch.Tensor) -> None:
        if x.shape[0] == count:  # windows fold space into the batch; their patterns are of parts of images
            signs = (x.detach().flatten(1) > 0).double()
            kernel.add_(signs @ signs.T + (1 - signs) @ (1 - signs).T)

    found = [module for module in network.modules() if isinstance(module, ACTIVATIONS)]
    with watching(found, note), torch.no_grad():
        network.train()(probe.images)
    return torch.linalg.slogdet(kernel).logabsdet.item()


@PROXIES.register("zen")
def zen(network: Network, probe: Probe) -> float:
    """Zen-score: log of how far features move with the input, plus what the norms took out (Lin et al. 2021,
    arXiv:2102.01063), for noise images. A LayerNorm takes out the spread over channels as a BatchNorm does that over
    images.
    """
    generator = probe.generator()
    noise = torch.randn(probe.images.shape, generator=generator)
    moved = noise + 0.01 * torch.randn(probe.images.shape, generator=generator)
    scales: list[float] = []

    def note(module: nn.Module, x: torch.Tensor, _: torch.Tensor) -> None:
        axes = (0, *range(2, x.ndim)) if isinstance(module, nn.modules.batchnorm._BatchNorm) else (1,)
        scales.append(0.5 * math.log(max(x.detach().var(axes, unbiased=False).mean().item(), 1e-24)))

    norms = [module for module in network.modules() if isinstance(module, NORMS)]
    with torch.no_grad():
        network.train()
        with watching(norms, note):
            first = network.forward_features(noise)
        distance = (first - network.forward_features(moved)).abs().mean().item()
    return math.log(distance) + sum(scales) if distance > 0 else -math.inf


@PROXIES.register("zico")
def zico(network: Network, probe: Probe) -> float:
    """Sum over layers of log sum of mean |gradient| over its deviation between batches (Li et al. 2023,
    arXiv:2301.11300); needs two batches or more.
    """
    batches = [_loss_gradients(network, *half) for half in probe.halves()]
    total = 0.0
    for gradients in zip(*batches, strict=True):
        stacked = torch.stack(gradients)
        deviation, mean = stacked.std(0, unbiased=False), stacked.abs().mean(0)
        share = (mean[deviation > 0] / deviation[deviation > 0]).sum().item()
        total += math.log(share) if share > 0 else 0.0
    return total


@PROXIES.register("dss")
def dss(network: Network, probe: Probe) -> float:
    """Synaptic diversity of attention, saliency of the rest (Zhou et al. 2022, arXiv:2203.12217).

    On absolute weights and an image of ones, as synflow: for q, k, v and output maps of attention the product of the
    nuclear norms of gradient and weight, for every other layer the sum of |gradient x weight|; logarithms are taken
    of the two sums, whose sizes differ by orders of magnitude.
    """
    copied, found = _absolute_gradients(network, probe)
    inside = {id(m) for attention in _attentions(copied) for m in attention.modules()}
    diversity = saliency = 0.0
    for module, weight, gradient in found:
        if id(module) in inside and isinstance(module, nn.Linear):
            norms = [torch.linalg.matrix_norm(each, "nuc").item() for each in (gradient, weight)]
            diversity += norms[0] * norms[1]
        else:
            saliency += (gradient * weight).abs().sum().item()
    return sum(math.log(each) for each in (diversity, saliency) if each > 0)


@PROXIES.register("expressivity")
def expressivity(network: Network, probe: Probe) -> float:
    """AZ-NAS: sum over layers of the entropy of their features' principal components (Lee and Ham 2024,
    arXiv:2403.19232).
    """
    return sum(_entropies(network, probe))


@PROXIES.register("progressivity")
def progressivity(network: Network, probe: Probe) -> float:
    """AZ-NAS: the least growth of that entropy from one layer to the next."""
    found = _entropies(network, probe)
    return min((b - a for a, b in itertools.pairwise(found)), default=0.0)


@PROXIES.register("trainability")
def trainability(network: Network, probe: Probe) -> float:
    """AZ-NAS: how near to one the layers' Jacobians keep the size of gradients.

    For every layer, random signs are sent back through it; s is their size before over their size after, and the score
    is the mean of -(s + 1 / s) + 2, which is 0 where every layer keeps gradients as they are.
    """
    network.train()
    generator = probe.generator()
    inputs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def note(_: nn.Module, x: torch.Tensor, out: torch.Tensor) -> None:
        if x.requires_grad:
            inputs.append((x, out))

    with watching(layers(network), note):
        network.forward_features(probe.images.clone().requires_grad_())
    total = 0.0
    for x, out in inputs:
        signs = torch.randint(0, 2, out.shape, generator=generator).to(out.dtype) * 2 - 1
        back = torch.autograd.grad(out, x, signs, retain_graph=True)[0]
        size = (back.norm() / signs.norm()).item()
        total += 2 - size - 1 / size if size > 0 else -math.inf
    return total / len(inputs)


def _entropies(network: Network, probe: Probe) -> list[float]:
    """Per layer, the entropy of the normalised eigenvalues of its features' covariance over images and positions."""
    found: list[float] = []

    def note(_: nn.Module, __: torch.Tensor, out: torch.Tensor) -> None:
        features = out.detach().transpose(0, 1).flatten(1).double()
        features = features - features.mean(1, keepdim=True)
        values = torch.linalg.eigvalsh(features @ features.T / features.shape[1]).clamp_min(0)
        shares = values / values.sum().clamp_min(1e-12)
        found.append(-(shares * (shares + 1e-12).log()).sum().item())

    noise = torch.randn(probe.images.shape, generator=probe.generator())
    with watching(layers(network), note), torch.no_grad():
        network.train().forward_features(noise)
    return found


def _attentions(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, Attention)]
