"""timm's pretrained weights in networks of the zoo.

Each family has a module here that says which timm models are which of our networks, and how the tensors of one are
named, split and shaped in the other. A model or a state dict is given; timm itself is imported only to resize tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nas.errors import ArchitectureError, RunError
from nas.networks.loading import load_architecture
from nas.networks.network import Network, build
from nas.networks.timm.converting import GIVEN
from nas.networks.timm.families import FAMILIES, Family
from nas.networks.timm.resizing import native_side, resized_as_timm, sized_as_timm
from nas.registry import unknown

_COUNTED = r"(^|\.)(n_averaged|total_ops|total_params)$"
"""What tools count beside the weights: torch's `AveragedModel`, and thop."""


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
    return network_with(_family(name), zoo_name(name), weights, name, resolution=resolution)


def network_with(
    family: Family,
    zoo: str,
    weights: nn.Module | Mapping[str, torch.Tensor],
    name: str,
    *,
    resolution: int | None = None,
) -> Network:
    """Returns a network of the zoo with weights in a layout that its family knows, in eval mode.

    Args:
        zoo: The zoo's name of the network.
        name: What errors call the model.
        resolution: As for `from_timm`.

    Raises:
        ArchitectureError: If the network cannot be built for images of that side.
        RunError: If the weights are another model's.
        OptionError: If tables are to be resized by timm's functions, and timm cannot be imported.
    """
    try:
        state = weights.state_dict() if isinstance(weights, nn.Module) else weights
        given = family.as_timm({key: value for key, value in state.items() if not re.search(_COUNTED, key)})
        classes = family.classes(given)
        architecture = load_architecture(zoo)
        architecture = architecture.with_classes(classes) if classes and classes > 1 else architecture
        network = build(architecture)
        converted = family.convert(given, network)
        native = native_side(family, architecture, converted)
    except KeyError as fault:
        raise _others(name, f"they lack {fault}") from None
    except (RunError, IndexError, ValueError, RuntimeError, AttributeError) as fault:
        raise _others(name, " ".join(str(fault).split())[:200]) from None
    side = resolution or native
    if side != architecture.input.resolution:
        network = build(sized_as_timm(family, architecture, side))
    converted = resized_as_timm(converted, network)
    check_fit(name, converted, network.state_dict())
    network.load_state_dict(converted)
    return network.eval()


def check_fit(name: str, converted: Mapping[str, torch.Tensor], own: Mapping[str, Any]) -> None:
    """Refuses weights that lack a tensor of ours, have one too many, or one of another shape."""
    missing = sorted(set(own) - set(converted))
    foreign = sorted(set(converted) - set(own))
    shaped = sorted(key for key in set(own) & set(converted) if own[key].shape != converted[key].shape)
    reshaped = [f"{key} is {tuple(converted[key].shape)}, not {tuple(own[key].shape)}" for key in shaped[:2]]
    parts = [
        f"{len(keys)} {words} ({'; '.join(shown)}{'; …' if len(keys) > len(shown) else ''})"
        for keys, words, shown in (
            (missing, "missing", missing[:2]),
            (foreign, "that it does not have", [name.replace(GIVEN, "") for name in foreign[:2]]),
            (shaped, "of another shape", reshaped),
        )
        if keys
    ]
    if parts:
        raise _others(name, f"{', '.join(parts)}")


def _others(name: str, fault: str) -> RunError:
    return RunError(f"These weights are not of {name}: {fault.rstrip('.')}. Give the state dict of that model.")


def family_of(zoo: str) -> Family | None:
    """Returns the family whose weights are known to fit a network of the zoo, or None."""
    return next((family for family in FAMILIES if zoo in family.names.values()), None)


def _family(timm_name: str) -> Family:
    plain = timm_name.split(".")[0]
    for family in FAMILIES:
        if plain in family.names:
            return family
    known = sorted(name for family in FAMILIES for name in family.names)
    raise ArchitectureError(unknown("timm model", plain, known, most=6))
