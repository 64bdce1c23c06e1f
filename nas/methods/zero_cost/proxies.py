"""Zero-cost proxies, each as its paper has it where that is right for convolution and attention alike.

All are higher-is-better and deterministic for a network and a probe. They read initial weights; none is fitted to
anything. Where a paper's proxy was made for ReLU or BatchNorm networks, what stands in for them is said here. Proxies
that look at the same thing are neighbours, so that it is computed once.
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
    arXiv:2006.05467): on absolute weights in float64, norms switched off since they would undo their size.

    Attention weighs all positions alike, which keeps the network the linear map of positive weights that the paper is
    about; so no flow is counted through q and k.
    """
    _, found = absolute_gradients(probed.network, probed.probe, linear=True)
    total = sum((weight * gradient).sum().item() for _, weight, gradient in found)
    return math.log(total) if total > 0 else math.nan if math.isnan(total) else -math.inf


@PROXIES.register("dss")
def dss(probed: Probed) -> float:
    """Synaptic diversity of attention plus saliency of the rest, as a logarithm (Zhou et al. 2022, arXiv:2203.12217).

    On absolute weights and an image of ones: for q, k, v and output maps of attention the product of the nuclear norms
    of gradient and weight, for every other layer, convolutions too, the sum of |gradient x weight|. LayerNorms stay.
    """
    copied, found = absolute_gradients(probed.network, probed.probe, linear=False)
    inside = {id(m) for attention in _attentions(copied) for m in attention.modules()}
    total = 0.0
    for module, weight, gradient in found:
        if not gradient.isfinite().all():
            return math.nan  # signals may still grow beyond any number
        if id(module) in inside and isinstance(module, nn.Linear):
            norms = [torch.linalg.matrix_norm(each, "nuc").item() for each in (gradient, weight)]
            total += norms[0] * norms[1]
        else:
            total += (gradient * weight).abs().sum().item()
    return math.log(total) if total > 0 else -math.inf


@PROXIES.register("nwot")
def nwot(probed: Probed) -> float:
    """Log-determinant of how alike images' activation patterns are (Mellor et al. 2021, arXiv:2006.04647).

    The pattern is the sign of the input of every nonlinearity that the op library has, of smooth and saturating ones
    (GELU, SiLU, squared ReLU, sigmoid, …) as of ReLU.

    The paper's determinant is 0 where images share a pattern, such as doubles in the data or blank frames. Then it is
    the pseudo-determinant, the product of the eigenvalues that are not 0: that of the kernel without the doubles, but
    for a constant that is the same for every network. Of a kernel that is not singular the two are one.
    """
    network, images = probed.network, probed.probe.images
    count = len(images)
    kernel = torch.zeros(count, count, dtype=torch.float64, device=images.device)

    def note(x: torch.Tensor) -> None:
        if x.shape[0] == count:  # windows fold space into the batch; their patterns are of parts of images
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
    """Zen-score: log of how far features move with the input, plus the log of what BatchNorms divided by (Lin et al.
    2021, arXiv:2102.01063).

    As the paper has it: weights from N(0, 1), no shortcuts (`vanilla` says which), noise for images, moved by 0.01 of
    other noise; the distance is the sum of absolute differences over the last map, its mean over the images. Of the
    norms BatchNorms alone enter, as in the paper's networks: what a LayerNorm takes out is not put back, so that
    networks with unlike norms are not compared fairly. Once, where the authors' code averages 32 draws.
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
    """Sum over layers of log sum of mean |gradient| over its deviation between batches (Li et al. 2023,
    arXiv:2301.11300), for the two halves of the probe.
    """
    halves = [loss_gradients(probed.network, *half) for half in probed.probe.halves()]
    total = 0.0
    for first, second in zip(*halves, strict=True):
        # Of two numbers.
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
    """AZ-NAS: how near to one the spectral norms of the layers' Jacobians are (Lee and Ham 2024, eq. 5 to 7).

    For every layer, random signs are sent back through it, which estimates the Jacobian of its channels; s is its
    largest singular value, and the score is the mean of -(s + 1 / s) + 2, which is 0 where no layer makes gradients
    larger or smaller. Layers whose positions have no order in common with their input's are left out.
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
