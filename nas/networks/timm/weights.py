"""timm's pretrained weights in networks of the zoo.

Each family has a module here that says which timm models are which of our networks, and how the tensors of one are
named, split and shaped in the other. A model or a state dict is given; timm itself is imported only to resize tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nas.errors import ArchitectureError, RunError
from nas.networks.loading import load_architecture
from nas.networks.network import Network, build
from nas.networks.timm.families import FAMILIES, Family
from nas.networks.timm.resizing import native_side, resized_as_timm, sized_as_timm
from nas.registry import unknown


def zoo_name(timm_name: str) -> str:
    """Returns the zoo's name of a timm model, such as `levit_256` for `levit_256.fb_dist_in1k`.

    Raises:
        ArchitectureError: If the zoo has no such network whose weights are known to fit.
    """
    return _family(timm_name).names[timm_name.split(".")[0]]


def from_timm(name: str, weights: nn.Module | Mapping[str, torch.Tensor], *, resolution: int | None = None) -> Network:
    """Returns a network of the zoo with the weights of a timm model, in eval mode.

    Args:
        name: timm's name of the model, with or without its tag.
        weights: The timm model, or its state dict. `timm.create_model(name, pretrained=True)` downloads one.
        resolution: The image side R. None is the weights' own, as their position tables have it (a model made with
            `img_size=256`), or the zoo's where nothing in them is tied to a size. Tables are resized to another.

    Returns:
        (B, 3, R, R) -> (B, classes of the given weights).

    Raises:
        ArchitectureError: If the zoo has no such network, or it cannot be built for images of that side.
        RunError: If the weights are another model's.
        OptionError: If tables are to be resized by timm's functions, and timm cannot be imported.
    """
    family = _family(name)
    given = dict(weights.state_dict() if isinstance(weights, nn.Module) else weights)
    architecture = load_architecture(zoo_name(name))
    classes = family.classes(given)
    architecture = architecture.with_classes(classes) if classes else architecture
    network = build(architecture)
    try:
        converted = family.convert(given, network)
        native = native_side(family, architecture, converted)
    except KeyError as fault:
        raise _others(name, f"they lack {fault}") from None
    except RunError as fault:
        raise _others(name, str(fault)) from None
    side = resolution or native
    if side != architecture.input.resolution:
        network = build(sized_as_timm(family, architecture, side))
    converted = resized_as_timm(converted, network)
    check_fit(name, converted, network.state_dict())
    network.load_state_dict(converted)
    return network.eval()


def check_fit(name: str, converted: Mapping[str, torch.Tensor], own: Mapping[str, Any]) -> None:
    """Refuses weights that lack a tensor of ours, have one too many, or one of another shape."""
    for key in sorted({*converted, *own}):
        if key not in converted or key not in own or converted[key].shape != own[key].shape:
            there = tuple(converted[key].shape) if key in converted else "missing"
            needed = tuple(own[key].shape) if key in own else "not in the network"
            raise _others(name, f"{key} is {there} but should be {needed}")


def _others(name: str, fault: str) -> RunError:
    return RunError(f"These weights are not of {name}: {fault.rstrip('.')}. Give the state dict of that model.")


def _family(timm_name: str) -> Family:
    plain = timm_name.split(".")[0]
    for family in FAMILIES:
        if plain in family.names:
            return family
    known = sorted(name for family in FAMILIES for name in family.names)
    raise ArchitectureError(unknown("timm model", plain, known, most=6))
