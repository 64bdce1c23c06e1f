"""Functions that the families' conversions of weights share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from nas.architecture import Architecture
from nas.networks.network import Network

State = dict[str, torch.Tensor]
Numbers = tuple[float, ...]

# What images in 0 to 1 are normalized by: ImageNet's mean and standard deviation, the default of timm's models; to -1
# to 1, as Inception and most of TensorFlow's; not at all.
IMAGENET: tuple[Numbers, Numbers] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INCEPTION: tuple[Numbers, Numbers] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
PLAIN: tuple[Numbers, Numbers] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
GIVEN = "given:"
"""What the name of a tensor begins with that no rule is for: no network has it, so that the weights are refused."""
_COMPUTED = r"(relative_position_index|attention_bias_idxs|attn_mask|relative_coords_table|rel_coords|rel_indices)$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Conversion of timm's weights of one family to ours.

    Attributes:
        names: timm's model names -> the zoo's, smallest first.
        convert: (timm's state dict, our network) -> our state dict, whole.
        classifier: The timm tensor whose first axis is the number of classes.
        sized: (our architecture, image side) -> the one that timm makes for images of that side.
        normalization: Mean and standard deviation, per channel, of images in 0 to 1 for timm's weights.
        other: The same for networks of the zoo that are not normalized as the rest of the family.
        as_timm: (weights in any layout that is known) -> the same under timm's names.
    """

    names: Mapping[str, str]
    convert: Callable[[State, Network], State]
    classifier: str = field(default="head.fc.weight")
    sized: Callable[[Architecture, int], Architecture] = Architecture.at_resolution
    normalization: tuple[Numbers, Numbers] = IMAGENET
    other: Mapping[str, tuple[Numbers, Numbers]] = field(default_factory=dict[str, tuple[Numbers, Numbers]])
    as_timm: Callable[[State], State] = field(default=lambda state: state)

    def classes(self, state: State) -> int | None:
        """Returns the number of classes of the given weights."""
        found = state.get(self.classifier)
        return None if found is None else found.shape[0]

    def normalized_by(self, zoo: str) -> tuple[Numbers, Numbers]:
        """Returns mean and standard deviation of images for timm's weights of a network of the zoo."""
        return self.other.get(zoo, self.normalization)


def renamed(state: State, rules: Sequence[tuple[str, str]]) -> State:
    """Returns a state dict with each name rewritten by the first rule (pattern, replacement) that matches all of it.

    A name that no rule matches is kept as given:NAME, which no network has, so that the weights are refused: with what
    it names, such as a layer scale, timm's network computes something else. Tables computed from sizes are left out.
    """
    found: State = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            match = re.fullmatch(pattern, name)
            if match:
                found[match.expand(replacement)] = tensor
                break
        else:
            if not re.search(_COMPUTED, name):
                found[f"{GIVEN}{name}"] = tensor
    return found


def split_qkv(tensor: torch.Tensor, sizes: Sequence[int] | None = None) -> list[torch.Tensor]:
    """Splits a fused q, k, v tensor along its first axis, in thirds or by sizes."""
    return list(tensor.split(list(sizes) if sizes else tensor.shape[0] // 3))


def split_qkv_by_head(tensor: torch.Tensor, heads: int, sizes: Sequence[int]) -> list[torch.Tensor]:
    """Splits a fused tensor whose first axis is heads x (q, k, v) into q, k and v with their heads in a row.

    Args:
        sizes: Channels of q, k and v per head.
    """
    parts = tensor.unflatten(0, (heads, sum(sizes))).split(list(sizes), 1)
    return [part.flatten(0, 1) for part in parts]


def divided(
    state: State, network: Network, *, fused: str = "qkv", parts: Sequence[str] = ("q", "k", "v"), by_head: bool = False
) -> State:
    """Splits fused projections of attention among ours, whatever they hold (weight, bias, a norm's numbers).

    `a.b.qkv.linear.weight` becomes `a.b.q.linear.weight` and so on, `a.b` being attention of `network`.

    Args:
        by_head: The fused channels are heads x (q, k, v), not q, k, v x heads.
    """
    found: State = {}
    for name, tensor in state.items():
        match = re.fullmatch(rf"(.*)\.{fused}\.(.*)", name)
        if not match or GIVEN in name:
            found[name] = tensor
            continue
        path, rest = match.groups()
        attention: Any = network.get_submodule(path)
        sizes = [getattr(attention, part).shape.channels for part in parts]
        if tensor.ndim == 0:
            pieces = [tensor] * len(parts)
        elif by_head:
            heads = attention.k.shape.channels // attention.head_dim
            pieces = split_qkv_by_head(tensor, heads, [size // heads for size in sizes])
        else:
            pieces = split_qkv(tensor, sizes)
        found |= {f"{path}.{part}.{rest}": piece for part, piece in zip(parts, pieces, strict=True)}
    return found


def unflattened(converted: State, ending: str) -> State:
    """Returns tensors whose names end so, square tables that are flat in timm: (heads, H * W) as (heads, H, W)."""
    return {
        name: tensor.unflatten(1, (math.isqrt(tensor.shape[1]), -1)) if name.endswith(ending) else tensor
        for name, tensor in converted.items()
    }


def fitted(converted: State, network: Network) -> State:
    """Returns tensors that differ from ours by axes of length one alone (1x1 convolutions, linear maps) reshaped."""
    own = network.state_dict()
    return {
        name: tensor.reshape(own[name].shape)
        if name in own and tensor.numel() == own[name].numel() and _squeezed(tensor) == _squeezed(own[name])
        else tensor
        for name, tensor in converted.items()
    }


def _squeezed(tensor: torch.Tensor) -> list[int]:
    return [size for size in tensor.shape if size != 1]
