"""timm's weights at another image size than a network's own: the size that they are of, and tables resized to another.

Tables of offsets (Swin, CoAtNet, MaxViT) and position embeddings are resized by timm's own functions, as its
`create_model` resizes them in pretrained weights. What timm resizes for no model (LeViT's distances, …) is resized as
this package resizes its own weights (`nas.networks.network.resize_tables`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from nas.architecture import Architecture
from nas.errors import ArchitectureError, RunError
from nas.networks.image_sizes import nearest_sides, size_refusal
from nas.networks.network import Network
from nas.networks.timm.converting import Family, State
from nas.networks.timm.library import timm_module
from nas.ops.positions import RelativeBias
from nas.ops.tokens import Position

_PURPOSE = "nas.from_timm at another image size than the weights'"
_STEPS = (32, 16, 14, 1)
"""What image sides are multiples of, the likeliest first; 14 is a patch size."""


def native_side(family: Family, architecture: Architecture, converted: Mapping[str, torch.Tensor]) -> int:
    """Returns the image side whose tables the weights hold; the architecture's if they fit it, or hold no tables.

    Raises:
        RunError: If they are of no size near the one that their largest table speaks for.
    """
    own = _tables(_skeleton(architecture))
    wrong = [key for key, (_, table) in own.items() if key in converted and converted[key].shape != table.shape]
    if not wrong:
        return architecture.input.resolution
    key = max(wrong, key=lambda each: own[each][1].numel())
    guess = architecture.input.resolution * math.sqrt(converted[key].numel() / own[key][1].numel())
    for side in dict.fromkeys(round(guess / step) * step for step in _STEPS):
        try:
            tables = _tables(_skeleton(family.sized(architecture, side)))
        except ArchitectureError:
            continue
        if all(key in tables and converted[key].shape == tables[key][1].shape for key in wrong):
            return side
    raise RunError(f"{key} is {tuple(converted[key].shape)}, which is of no image size near {round(guess)}.")


def sized_as_timm(family: Family, architecture: Architecture, side: int) -> Architecture:
    """Returns the architecture that timm makes for images of `side` x `side`.

    Raises:
        ArchitectureError: If it cannot be built for that; names the nearest sides for which it can.
    """
    why = _misfit(family, architecture, side)
    if why is not None:
        sides = nearest_sides(side, lambda each: _misfit(family, architecture, each) is None)
        raise ArchitectureError(size_refusal(why, side, sides))
    return family.sized(architecture, side)


def resized_as_timm(converted: State, network: Network) -> State:
    """Returns a state dict whose tables are resized to those of `network`, as timm resizes them where it does.

    Raises:
        OptionError: If timm's functions are needed and timm cannot be imported.
    """
    found = dict(converted)
    for key, (module, table) in _tables(network).items():
        if key in found and found[key].shape != table.shape:
            found[key] = _resized(module, key.rsplit(".", 1)[-1], found[key], table)
    return found


def _resized(module: Any, name: str, found: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    if isinstance(module, RelativeBias):
        window = [(size + 1) // 2 for size in table.shape[1:]]
        resize = timm_module("timm.layers", purpose=_PURPOSE).resize_rel_pos_bias_table
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of timm to its authors
            return resize(found, new_window_size=window, new_bias_shape=tuple(table.shape))
    if isinstance(module, Position) and module.learned:
        shape, channels = module.shape, found.shape[0]
        resample = timm_module("timm.layers", purpose=_PURPOSE).resample_abs_pos_embed
        places = resample(found.reshape(1, channels, -1).mT, list(shape[1:3]), num_prefix_tokens=shape.tokens)
        return places.mT.reshape(table.shape)
    return module.resized(name, found)


def _tables(network: Network) -> dict[str, tuple[Any, torch.Tensor]]:
    """Returns the tables that belong to an image size, with the modules that have them."""
    return {
        f"{path}.{name}": (module, table)
        for path, module in network.named_modules()
        if hasattr(module, "resized")
        for name, table in module.named_parameters(recurse=False)
    }


def _skeleton(architecture: Architecture) -> Network:
    """Returns the network without memory for its weights."""
    with torch.device("meta"):
        return Network(architecture.to_dict())


def _misfit(family: Family, architecture: Architecture, side: int) -> str | None:
    try:
        _skeleton(family.sized(architecture, side))
    except ArchitectureError as fault:
        return str(fault)
    return None
