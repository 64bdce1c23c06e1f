"""Zero-cost proxies, each as in its paper where that suits both convolution and attention.

All are higher-is-better and deterministic for a network and a probe. They use initial weights; none is fitted to
anything. If a paper's proxy assumes ReLU or BatchNorm networks, its docstring describes the generalization. Proxies
that share a quantity are adjacent, so that it is computed once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import nn

from nas.methods.zero_cost.probing import (
    BATCH_NORMS,
    NonlinearityInputs,
    Probed,
    absolute_gradients,
    entropies,
    layers,
    loss_gradients,
    mean_jacobian,
    vanilla,
    watching,
    weights,
)
from nas.ops.attention import Attention
from nas.registry import Registry

PROXIES: Registry[Callable[[Probed], float]] = Registry("zero-cost proxy")


@PROXIES.register("grad_norm")
def grad_norm(probed: Probed) -> float:
    """Sum over layers of the gradient's norm (Abdelfattah et al. 2021, arXiv:2101.08134)."""
    return sum(each.norm().item() for each in _loss_gradients(probed))


@PROXIES.register("snip")
def snip(probed: Probed) -> float:
    """Sum of |weight x gradient| (Lee et al. 2019, arXiv:1810.02340)."""
    gradients = _loss_gradients(probed)
    pairs = zip(weights(probed.network), gradients, strict=True)
    return sum((weight.detach() * gradient).abs().sum().item() for (_, weight), gradient in pairs)


@PROXIES.register("synflow")
def synflow(probed: Probed) -> float:
    """Logarithm of the sum of |weight| x gradient of the summed output for an image of ones (Tanaka et al. 2020,
    arXiv:2006.05467): with absolute weights in float64, and without norms, which would undo their magnitude.

    Attention weighs all positions equally, so that the network is a linear map with positive weights, as in the paper;
    hence there is no flow through q and k.
    """
    _, found = absolute_gradients(probed.network, probed.probe, linear=True)
    total = sum((weight * gradient).sum().item() for _, weight, gradient in found)
    return math.log(total) if total > 0 else math.nan if math.isnan(total) else -math.inf


@PROXIES.register("dss")
def dss(probed: Probed) -> float:
    """Synaptic diversity of attention plus saliency of the rest, as a logarithm (Zhou et al. 2022, arXiv:2203.12217).

    With absolute weights and an image of ones: for q, k, v and output projections of attention the product of the
    nuclear norms of gradient and weight; for all other layers, including convolutions, the sum of |gradient x weight|.
    LayerNorms are kept.
    """
    copied, found = absolute_gradients(probed.network, probed.probe, linear=False)
    inside = {id(m) for attention in _attentions(copied) for m in attention.modules()}
    total = 0.0
    for module, weight, gradient in found:
        if not gradient.isfinite().all():
            return math.nan  # signals may still overflow
        if id(module) in inside and isinstance(module, nn.Linear):
            norms = [torch.linalg.matrix_norm(each, "nuc").item() for each in (gradient, weight)]
            total += norms[0] * norms[1]
        else:
            total += (gradient * weight).abs().sum().item()
    return math.log(total) if total > 0 else -math.inf


@PROXIES.register("nwot")
def nwot(probed: Probed) -> float:
    """Log-determinant of the kernel matrix of images' binary activation codes (Mellor et al. 2021, arXiv:2006.04647).

    The code is the signs of the inputs of all nonlinearities of the op library, smooth and saturating ones (GELU, SiLU,
    squared ReLU, sigmoid, …) as well as ReLU.

    The paper's determinant is 0 if images share a code, such as duplicates in the data or blank frames. Then the
    pseudo-determinant takes its place, the product of the nonzero eigenvalues: that of the kernel without the
    duplicates, up to a constant that is the same for every network. For a nonsingular kernel the two are equal.
    """
    network, images = probed.network, probed.probe.images
    count = len(images)
    kernel = torch.zeros(count, count, dtype=torch.float64, device=images.device)

    def note(x: torch.Tensor) -> None:
        if x.shape[0] == count:  # windows fold space into the batch: their codes would be of parts of images
            signs = (x.detach().flatten(1) > 0).double()
            kernel.add_(signs @ signs.T + (1 - signs) @ (1 - signs).T)

    with NonlinearityInputs(note), torch.no_grad():
        network.train()(images)
    values = torch.linalg.eigvalsh(kernel)
    # 0 within the usual tolerance of a rank (torch.linalg.matrix_rank). Two patterns that differ in one sign have the
    # eigenvalue 1, far above it, so that the logarithm of a kernel grows from 0 on as patterns part.
    values = values[values > count * torch.finfo(values.dtype).eps * values.abs().max()]
    return values.log().sum().item() if len(values) else -math.inf


@PROXIES.register("zen")
def zen(probed: Probed) -> float:
    """Zen-score: log of the change of features with the input, plus the log of BatchNorm deviations (Lin et al. 2021,
    arXiv:2102.01063).

    As in the paper: weights from N(0, 1), no shortcuts (see `vanilla`), noise as images, perturbed by 0.01 times other
    noise; the change is the sum of absolute differences over the last map, averaged over the images. Only BatchNorms
    are compensated, as in the paper's networks: the scale that a LayerNorm removes is not, so that networks with
    different norms are not compared fairly. One sample is used; the authors' code averages 32.
    """
    probe, generator = probed.probe, probed.probe.generator()
    network = vanilla(probed.network, generator).train()
    noise = probe.noise(generator)
    moved = noise + 0.01 * probe.noise(generator)
    scales: list[float] = []

    def note(_: nn.Module, x: torch.Tensor, __: torch.Tensor) -> None:
        variance = x.detach().var((0, *range(2, x.ndim)), unbiased=False).mean().item()
        scales.append(0.5 * math.log(max(variance, 1e-24)))

    norms = [module for module in network.modules() if isinstance(module, BATCH_NORMS)]
    with torch.no_grad():
        with watching(norms, note):
            first = network.forward_features(noise)
        distance = (first - network.forward_features(moved)).double().abs().flatten(1).sum(1).mean().item()
    return math.log(distance) + sum(scales) if distance > 0 else -math.inf


@PROXIES.register("zico")
def zico(probed: Probed) -> float:
    """ZiCo: sum over layers of the log of the sum of mean |gradient| divided by its deviation between batches (Li et
    al. 2023, arXiv:2301.11300); the batches are the two halves of the probe.
    """
    halves = [loss_gradients(probed.network, *half) for half in probed.probe.halves()]
    total = 0.0
    for first, second in zip(*halves, strict=True):
        # Standard deviation of two numbers.
        deviation, mean = (first - second).abs() / 2, (first.abs() + second.abs()) / 2
        share = (mean[deviation > 0] / deviation[deviation > 0]).sum().item()
        total += math.log(share) if share > 0 else 0.0
    return total


@PROXIES.register("expressivity")
def expressivity(probed: Probed) -> float:
    """AZ-NAS: sum over layers of the entropy of their features' principal components (Lee and Ham 2024,
    arXiv:2403.19232).
    """
    return sum(_entropies(probed))


@PROXIES.register("progressivity")
def progressivity(probed: Probed) -> float:
    """AZ-NAS: the least growth of that entropy from one layer to the next."""
    found = _entropies(probed)
    return min((b - a for a, b in itertools.pairwise(found)), default=0.0)


@PROXIES.register("trainability")
def trainability(probed: Probed) -> float:
    """AZ-NAS: closeness to one of the spectral norms of the layers' Jacobians (Lee and Ham 2024, eq. 5 to 7).

    For every layer, random signs are backpropagated to estimate the Jacobian of its channels; s is its largest singular
    value, and the score is the mean of -(s + 1 / s) + 2, which is 0 if no layer scales gradients. Layers whose output
    positions do not correspond to input positions are left out.
    """
    network, probe, generator = probed.network.train(), probed.probe, probed.probe.generator()
    inputs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def note(_: nn.Module, x: torch.Tensor, out: torch.Tensor) -> None:
        if x.requires_grad:
            inputs.append((x, out))

    with watching(layers(network), note):
        network.forward_features(probe.images.clone().requires_grad_())
    found: list[float] = []
    for x, out in inputs:
        signs = torch.randint(0, 2, out.shape, generator=generator).to(out) * 2 - 1
        jacobian = mean_jacobian(torch.autograd.grad(out, x, signs, retain_graph=True)[0], signs)
        if jacobian is not None:
            size = torch.linalg.matrix_norm(jacobian, 2).item()
            found.append(2 - size - 1 / size if size > 0 else -math.inf)
    return sum(found) / len(found) if found else math.nan


def _loss_gradients(probed: Probed) -> list[torch.Tensor]:
    return probed.shared("loss gradients", lambda: loss_gradients(probed.network, *probed.probe.batch))


def _entropies(probed: Probed) -> list[float]:
    return probed.shared("entropies", lambda: entropies(probed.network, probed.probe))


def _attentions(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, Attention)]
