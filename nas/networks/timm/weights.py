"""timm's pretrained weights in networks of the zoo.

Each family has a module here that says which timm models are which of our networks, and how the tensors of one are
named, split and shaped in the other. timm itself is never imported: a model or a state dict is given.
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
from nas.registry import unknown


def zoo_name(timm_name: str) -> str:
    """Returns the zoo's name of a timm model, such as `levit_256` for `levit_256.fb_dist_in1k`.

    Raises:
        ArchitectureError: If the zoo has no such network whose weights are known to fit.
    """
    return _family(timm_name).names[timm_name.split(".")[0]]


def from_timm(name: str, weights: nn.Module | Mapping[str, torch.Tensor]) -> Network:
    """Returns a network of the zoo with the weights of a timm model, in eval mode.

    Args:
        name: timm's name of the model, with or without its tag.
        weights: The timm model, or its state dict. `timm.create_model(name, pretrained=True)` downloads one.

    Returns:
        (B, 3, R, R) -> (B, classes of the given weights).

    Raises:
        ArchitectureError: If the zoo has no such network.
        RunError: If the weights are another model's.
    """
    family = _family(name)
    given = dict(weights.state_dict() if isinstance(weights, nn.Module) else weights)
    architecture = load_architecture(zoo_name(name))
    classes = family.classes(given)
    network = build(architecture.with_classes(classes) if classes else architecture).eval()
    try:
        converted = family.convert(given, network)
    except KeyError as fault:
        raise RunError(
            f"These weights are not of {name}: they lack {fault}. Give a state dict of that model."
        ) from None
    check_fit(name, converted, network.state_dict())
    network.load_state_dict(converted)
    return network


def check_fit(name: str, converted: Mapping[str, torch.Tensor], own: Mapping[str, Any]) -> None:
    """Refuses weights that lack a tensor of ours, have one too many, or one of another shape."""
    for key in sorted({*converted, *own}):
        if key not in converted or key not in own or converted[key].shape != own[key].shape:
            there = tuple(converted[key].shape) if key in converted else "missing"
            needed = tuple(own[key].shape) if key in own else "not in the network"
            raise RunError(f"These weights are not of {name}: {key} is {there} but should be {needed}.")


def _family(timm_name: str) -> Family:
    plain = timm_name.split(".")[0]
    for family in FAMILIES:
        if plain in family.names:
            return family
    known = sorted(name for family in FAMILIES for name in family.names)
    raise ArchitectureError(unknown("timm model", plain, known, most=6))
