"""Deploy graphs: what training needs and inference does not, folded into fewer modules with the same output.

A module that can be folded has a method `fold()` that gives the module to put in its place; one that applies a
BatchNorm right after a convolution or linear map says so in `normed`, as pairs of the names of both.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.basic import FeedForward
from nas.ops.combine import Residual
from nas.ops.conv_feed_forward import ConvFeedForward
from nas.ops.head import Classifier

Kind = TypeVar("Kind", bound=nn.Module)


def fold(network: Kind, *, norms: bool = True) -> Kind:
    """A copy of a network for inference, in eval mode: branches added up to one convolution, norms folded away.

    Outputs are equal but for rounding. The copy no longer matches the network's architecture; train the original.

    Args:
        norms: Whether BatchNorms are folded into the convolutions and linear maps before them. Published counts of
            re-parameterised networks (FastViT) have only their branches folded.
    """
    folded: Any = copy.deepcopy(network).eval()
    with torch.no_grad():
        folded = _fold_branches(folded)
        if norms:
            for module in list(folded.modules()):
                _fold_norms(module)
    return folded


def with_norm(layer: Any, norm: nn.BatchNorm2d) -> Any:
    """A convolution or linear map and the BatchNorm after it as one, with a bias."""
    scale, shift = scale_and_shift(norm)
    joined = copy.deepcopy(layer)
    bias = shift if layer.bias is None else shift + layer.bias * scale
    joined.weight = nn.Parameter(layer.weight * scale.reshape(-1, *[1] * (layer.weight.ndim - 1)))
    joined.bias = nn.Parameter(bias)
    return joined


def with_norm_before(norm: nn.BatchNorm2d, layer: Any) -> Any:
    """A BatchNorm and the linear map or 1x1 convolution of what it gives as one, with a bias."""
    scale, shift = scale_and_shift(norm)
    joined = copy.deepcopy(layer)
    bias = layer.weight.flatten(1) @ shift
    joined.weight = nn.Parameter(layer.weight * scale.reshape(1, -1, *[1] * (layer.weight.ndim - 2)))
    joined.bias = nn.Parameter(bias if layer.bias is None else layer.bias + bias)
    return joined


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """What a BatchNorm multiplies by and adds in eval mode, per channel."""
    assert norm.running_mean is not None, "a BatchNorm without running averages cannot be folded"
    assert norm.running_var is not None, "a BatchNorm without running averages cannot be folded"
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def identity_kernel(conv: nn.Conv2d) -> torch.Tensor:
    """The weight with which a convolution of this one's form gives its input."""
    kernel, inside = torch.zeros_like(conv.weight), conv.in_channels // conv.groups
    out = torch.arange(conv.out_channels, device=kernel.device)
    kernel[out, out % inside, conv.kernel_size[0] // 2, conv.kernel_size[1] // 2] = 1
    return kernel


def centred(kernel: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """A kernel (out, in, k, k) in the middle of a larger one of zeros."""
    tall, wide = size[0] - kernel.shape[2], size[1] - kernel.shape[3]
    return F.pad(kernel, (wide // 2, wide // 2, tall // 2, tall // 2))


def keeps_shape(module: nn.Module) -> bool:
    """Whether a module is a convolution whose output has the shape of its input, padded alike on all sides."""
    if not isinstance(module, nn.Conv2d) or module.padding_mode != "zeros" or isinstance(module.padding, str):
        return False
    sizes = zip(module.kernel_size, module.padding, module.dilation, strict=True)
    centre = all(k % 2 == 1 and pad == d * (k // 2) for k, pad, d in sizes)
    return centre and module.in_channels == module.out_channels and set(module.stride) == {1}


def _fold_branches(module: nn.Module) -> Any:
    for name, child in list(module.named_children()):
        setattr(module, name, _fold_branches(child))
    if isinstance(module, Residual):
        return _fold_residual(module)
    folding = getattr(module, "fold", None)
    return module if folding is None else folding()


def _fold_residual(module: Residual) -> nn.Module:
    """The convolution of a branch that is nothing else, with its scale and the identity added to it."""
    conv: Any = module.mixer
    plain = type(module.norm) is nn.Identity and type(module.shortcut) is nn.Identity
    if not (plain and keeps_shape(conv)):
        return module
    if module.scale is not None:
        conv.weight *= module.scale[:, None, None, None]
        if conv.bias is not None:
            conv.bias *= module.scale
    conv.weight += identity_kernel(conv)
    return conv


def _fold_norms(module: nn.Module) -> None:
    if isinstance(module, Classifier):
        _fold_classifier(module)
    if isinstance(module, Residual) and isinstance(module.norm, nn.BatchNorm2d):
        mixer: Any = module.mixer
        direct = isinstance(mixer, ConvFeedForward) and isinstance(mixer.before, nn.Identity)
        if direct or isinstance(mixer, FeedForward):
            mixer.expand, module.norm = with_norm_before(module.norm, mixer.expand), nn.Identity()
    pairs: list[tuple[str, str]] = list(getattr(module, "normed", ()))
    if isinstance(module, nn.Sequential):
        names = [name for name, _ in module.named_children()]
        pairs += list(pairwise(names))
    for first, second in pairs:
        layer, norm = getattr(module, first, None), getattr(module, second, None)
        if isinstance(layer, nn.Conv2d | nn.Linear) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, first, with_norm(layer, norm))
            setattr(module, second, nn.Identity())


def _fold_classifier(head: Classifier) -> None:
    """The norms before the linear maps; one before pooling can as well wait until after it."""
    if not isinstance(head.hidden, nn.Identity):
        return
    linears = [head.linear, *head.others]
    for i, norm in enumerate(head.norms):
        if isinstance(norm, nn.BatchNorm2d):
            linears[i], head.norms[i] = with_norm_before(norm, linears[i]), nn.Identity()
    direct = all(isinstance(block, nn.Identity) for block in (head.after, *head.norms))
    if direct and isinstance(head.norm, nn.BatchNorm2d):
        linears, head.norm = [with_norm_before(head.norm, linear) for linear in linears], nn.Identity()
    head.linear, head.others = linears[0], nn.ModuleList(linears[1:])
