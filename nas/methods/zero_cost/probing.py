"""The quantities that proxies are computed from: layer weights and gradients, inputs of activations, layer outputs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from nas.networks.network import Network
from nas.ops.cell import BasicBlock, Cell
from nas.ops.combine import NoShortcut, Residual

T = TypeVar("T")
AbsoluteGradients: TypeAlias = tuple[Network, list[tuple[nn.Module, torch.Tensor, torch.Tensor]]]
"""A copy of a network with absolute weights; its layers, each with its weight and the gradient by it."""

BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)
NORMS = (*BATCH_NORMS, nn.LayerNorm, nn.GroupNorm)
# All nonlinearities of the op library, as modules or functions, that depend mainly on the sign of their input (the
# saturating ones too: on the side of their center). Softmax is not among them, since it has no sign.
NONLINEARITIES = frozenset(
    {
        *(F.relu, torch.relu, torch.Tensor.relu, F.relu6, F.hardtanh, F.gelu, F.silu, F.hardswish, F.softplus),
        *(F.hardsigmoid, F.sigmoid, torch.sigmoid, torch.Tensor.sigmoid, F.tanh, torch.tanh, torch.Tensor.tanh),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probe:
    """A few training images, normalized: (N, C, R, R) float with labels (N,), and the seed of all noise."""

    images: torch.Tensor
    labels: torch.Tensor
    seed: int = 0

    @property
    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.images, self.labels

    def halves(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Returns the images as two batches."""
        return list(zip(self.images.chunk(2), self.labels.chunk(2), strict=True))

    def generator(self) -> torch.Generator:
        """Returns a generator on the CPU, which gives the same samples on every device."""
        return torch.Generator().manual_seed(self.seed)

    def noise(self, generator: torch.Generator) -> torch.Tensor:
        """Returns normal noise with the shape of the images."""
        return torch.randn(self.images.shape, generator=generator).to(self.images)


class Probed:
    """A network with a probe, which caches quantities that several proxies use.

    Only the last quantity is cached, since gradients are as large as the network: compute proxies that share one in
    succession.
    """

    def __init__(self, network: Network, probe: Probe) -> None:
        self.network, self.probe = network, probe
        self._kept: tuple[str, Any] | None = None

    def shared(self, name: str, make: Callable[[], T]) -> T:
        """Returns the quantity of that name, computed unless it was the last one."""
        if self._kept is None or self._kept[0] != name:
            self._kept = None  # frees its memory before the next is made
            self._kept = (name, make())
        return self._kept[1]


def weights(network: nn.Module) -> list[tuple[nn.Module, torch.Tensor]]:
    """Returns the weights of convolutions and linear maps with their modules: the "layers" of the proxies."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear)
    return [(m, m.weight) for m in network.modules() if isinstance(m, kinds) and m.weight.requires_grad]


def loss_gradients(network: Network, images: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
    """Returns the gradients of the cross-entropy by every layer's weight, in train mode."""
    network.train()
    loss = F.cross_entropy(network(images), labels)
    found = torch.autograd.grad(loss, [weight for _, weight in weights(network)], allow_unused=True)
    return [torch.zeros((), device=images.device) if each is None else each.detach() for each in found]


class UniformAttention(TorchFunctionMode):
    """While active, every softmax, fused attention's too, gives all entries the same weight, and passes no gradient."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            queries, _, values = args
            return values.mean(2, keepdim=True).expand(-1, -1, queries.shape[2], -1)
        if func not in (torch.Tensor.softmax, torch.softmax, F.softmax):
            return func(*args, **(kwargs or {}))
        logits, axis = args[0], args[1] if len(args) > 1 else kwargs["dim"]
        return torch.full_like(logits, 1 / logits.shape[axis], requires_grad=False)


class NonlinearityInputs(TorchFunctionMode):
    """While active, `note(input)` is called for every nonlinearity, whether a module or a function computes it."""

    def __init__(self, note: Callable[[torch.Tensor], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in NONLINEARITIES:
            self._note(args[0] if args else kwargs["input"])  # before, as it may work in place
        return func(*args, **kwargs)


def vanilla(network: Network, generator: torch.Generator) -> Network:
    """Returns a copy for Zen-score (Lin et al. 2021, arXiv:2102.01063): fresh weights, no shortcuts.

    Weights of convolutions and linear maps are sampled from N(0, 1) and their biases are 0; BatchNorms neither scale
    nor shift; all other parameters are unchanged. Shortcuts are those of `residual` and `basic_block`, projected or
    not, and an edge of a `cell` that skips in parallel to others. A branch's layer scale, which weighs it against its
    shortcut, is removed too. A branch with a part that outputs zeros (the op `none`: an idle stream, or a map that only
    its tokens attend to) keeps both, since that part has no other signal. Additions to an op's own input inside the op
    are kept.
    """
    copied = copy.deepcopy(network)
    for module in [*copied.modules()]:
        if isinstance(module, BasicBlock):
            module.shortcut = NoShortcut(NoShortcut.Config(), module.shape)  # type: ignore[assignment]
        elif isinstance(module, Residual) and not _gives_zeros(module.mixer):
            module.shortcut, module.scale = NoShortcut(NoShortcut.Config(), module.shape), None
        elif isinstance(module, Cell):
            _cut_skips(module)
    with torch.no_grad():
        for module, weight in weights(copied):
            weight.copy_(torch.randn(weight.shape, generator=generator))
            if isinstance(module.bias, torch.Tensor):
                module.bias.zero_()
        for module in copied.modules():
            if isinstance(module, BATCH_NORMS) and module.affine:
                module.weight.fill_(1)
                module.bias.zero_()
    return copied


def _gives_zeros(mixer: nn.Module) -> bool:
    """Returns whether some part of a mixer is the op `none`, other than as the shortcut of an inner branch."""
    return any(
        isinstance(module, NoShortcut) and name.rpartition(".")[2] != "shortcut"
        for name, module in mixer.named_modules()
    )


def _cut_skips(cell: Cell) -> None:
    for edges in cell.nodes:
        assert isinstance(edges, nn.ModuleList)
        skips = [not any(isinstance(part, nn.ReLU | nn.AvgPool2d) for part in edge.modules()) for edge in edges]
        if not all(skips):
            for number, skip in enumerate(skips):
                if skip:
                    edges[number] = NoShortcut(NoShortcut.Config(), cell.shape)


def absolute_gradients(network: Network, probe: Probe, *, linear: bool) -> AbsoluteGradients:
    """Returns a float64 copy with absolute weights in eval mode, and its layers with their weights and gradients.

    The gradients are of the summed output for an image of ones; layers that do not influence it are left out. Tanh is
    replaced by the identity, since it saturates at these magnitudes and would block the gradient. So is BatchNorm,
    which is the identity in a fresh network, and depends on images seen in any other.

    Args:
        linear: Whether to replace norms, which would undo the magnitude of weights, by the identity, and to let
            attention weigh all positions equally: a softmax has gradients of both signs, so that the sum over paths
            would not consist of positive terms only.
    """
    copied = copy.deepcopy(network).double().eval()
    for module in copied.modules():
        if isinstance(module, (*(NORMS if linear else BATCH_NORMS), nn.Tanh)):
            module.forward = _same  # type: ignore[method-assign]
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.abs_()
    with UniformAttention() if linear else nullcontext():
        out = copied(torch.ones_like(probe.images[:1], dtype=torch.float64)).sum()
    found = weights(copied)
    gradients = torch.autograd.grad(out, [weight for _, weight in found], allow_unused=True)
    pairs = zip(found, gradients, strict=True)
    return copied, [(module, weight.detach(), each) for (module, weight), each in pairs if each is not None]


def entropies(network: Network, probe: Probe) -> list[float]:
    """Returns per layer the entropy of the normalized eigenvalues of its features' covariance.

    The covariance is over images and positions; the images are noise.
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
    """Returns the network's layers in order, the stem first."""
    return [network.stem, *(layer for stage in network.stages for layer in stage.layers)]  # type: ignore[union-attr]


def mean_jacobian(back: torch.Tensor, signs: torch.Tensor) -> torch.Tensor | None:
    """Estimates the mean Jacobian of a layer's channels, from output signs (B, C_out, ...) backpropagated to its input.

    Every image and position is a sample. If the layer has a stride, the input positions of one output position count
    as channels: (C_in * stride ** 2, C_out). None if the positions do not correspond.

    Args:
        back: The backpropagated signs (B, C_in, ...).
        signs: Random signs (B, C_out, ...).
    """
    if back.ndim == 4 and back.shape[2] >= signs.shape[2]:
        step = math.ceil(back.shape[2] / signs.shape[2])
        missing = [step * wanted - have for have, wanted in zip(back.shape[2:], signs.shape[2:], strict=True)]
        if min(missing) >= 0:
            back = F.pixel_unshuffle(F.pad(back, (0, missing[1], 0, missing[0])), step)
    if back.shape[2:] != signs.shape[2:]:
        return None
    rows, columns = (each.transpose(0, 1).flatten(1) for each in (back, signs))
    return rows @ columns.T / columns.shape[1]


def _same(x: torch.Tensor) -> torch.Tensor:
    return x
