"""Deploy graphs: what training needs and inference does not, folded into fewer modules with the same output.

Modules say themselves what can be folded: by a method `fold()` that returns the module to put in their place, and by
`normed`, pairs of the names of a convolution or linear map and the BatchNorm right after it.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import nn

from nas.ops.basic import FeedForward
from nas.ops.combine import Residual
from nas.ops.conv_feed_forward import ConvFeedForward
from nas.ops.folding import identity_kernel, scale_and_shift, takes_scales, with_norm
from nas.ops.head import Classifier

Deployed = TypeVar("Deployed", bound=nn.Module)


def fold(network: Deployed, *, norms: bool = True) -> Deployed:
    """Returns a copy of a network for inference: branches become one convolution, norms part of the layers before them.

    The copy is in eval mode and gives the same output but for rounding. It no longer matches the network's
    architecture; train the original.

    Args:
        norms: Whether BatchNorms are folded into the convolutions and linear maps before them. Published counts of
            reparameterized networks (FastViT) have only their branches folded.
    """
    folded: Any = copy.deepcopy(network).eval()
    with torch.no_grad():
        folded = _fold_branches(folded)
        if norms:
            for module in list(folded.modules()):
                _fold_norms(module)
    return folded


def with_norm_before(norm: nn.BatchNorm2d, layer: Any) -> Any:
    """Returns a BatchNorm and the linear map or 1x1 convolution after it as one layer with a bias."""
    scale, shift = scale_and_shift(norm)
    joined = copy.deepcopy(layer)
    bias = layer.weight.flatten(1) @ shift
    joined.weight = nn.Parameter(layer.weight * scale.reshape(1, -1, *[1] * (layer.weight.ndim - 2)))
    joined.bias = nn.Parameter(bias if layer.bias is None else layer.bias + bias)
    return joined


def keeps_shape(module: nn.Module) -> bool:
    """Returns whether a module is a convolution with equal padding on all sides and an output shaped as its input."""
    if not isinstance(module, nn.Conv2d) or module.padding_mode != "zeros" or isinstance(module.padding, str):
        return False
    sizes = zip(module.kernel_size, module.padding, module.dilation, strict=True)
    centered = all(k % 2 == 1 and pad == d * (k // 2) for k, pad, d in sizes)
    return centered and module.in_channels == module.out_channels and set(module.stride) == {1}


def _fold_branches(module: nn.Module) -> Any:
    for name, child in list(module.named_children()):
        setattr(module, name, _fold_branches(child))
    if isinstance(module, Residual):
        return _fold_residual(module)
    folding = getattr(module, "fold", None)
    return module if folding is None else folding()


def _fold_residual(module: Residual) -> nn.Module:
    """Returns a branch that is a convolution alone as that convolution, with its scale and the identity in it."""
    conv: Any = module.mixer
    plain = type(module.norm) is nn.Identity and type(module.shortcut) is nn.Identity
    if not (plain and keeps_shape(conv) and takes_scales(conv)):
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
        if takes_scales(layer) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, first, with_norm(layer, norm))
            setattr(module, second, nn.Identity())


def _fold_classifier(head: Classifier) -> None:
    """Folds the norms before the linear maps; one before pooling gives the same after it."""
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
