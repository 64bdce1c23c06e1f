"""Fills a supernet with a trained network's weights, so that its smaller members have the parts that matter most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nas.architecture import Architecture
from nas.networks.inheritance.couplings import BATCH
from nas.networks.inheritance.narrowing import Runs, narrowed, runs_of
from nas.networks.network import Network, make_part
from nas.networks.shared_weights import part_of, slot_of, stands_alone, stored_name
from nas.networks.supernet import Supernet
from nas.ops import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What a supernet has of a network.

    Attributes:
        inherited, fresh: Number of the supernet's tensors that have values of it, and names of those that have none.
    """

    inherited: int
    fresh: tuple[str, ...]


def fill(
    supernet: Supernet,
    network: Architecture,
    state: Mapping[str, torch.Tensor],
    kept_layers: Mapping[int, Sequence[int]],
) -> Filled:
    """Copies a network's weights into a supernet, and says which layers of a stage smaller members keep.

    Of a tensor that is larger than the supernet's, the part goes there that a member of that size has: a prefix of the
    channels, the center of a kernel. Layers that the deepest member of a stage leaves out are left out.

    Args:
        network: A member of the supernet's space, as the supernet's resolution, channels and classes are.
        state: Its weights, units in the order of their importance.
        kept_layers: Per stage its layers, those that are kept longest first; only stages of which any may be left out.
    """
    deepest = {s: max(choice.depth for choice in supernet.choices[s + 1]) for s in kept_layers}
    chosen = {s: sorted(order[: deepest[s]]) for s, order in kept_layers.items() if len(order) >= deepest[s]}
    supernet.kept_layers = {s: [own.index(i) for i in kept_layers[s] if i in own] for s, own in chosen.items()}
    filled: set[str] = set()

    def copy(place: str, config: Any, shape: Shape) -> Any:
        with torch.device("meta"):
            module: nn.Module = make_part(config, shape)
        copies.append((_place_now(place, chosen), slot_of("", config, shape), config, shape, module))
        return module

    copies: list[tuple[str | None, str, Any, Shape, nn.Module]] = []
    names = [name for name, _ in _walk_all(supernet, network, copy)]
    for name, (place, kind, config, shape, module) in zip(names, copies, strict=True):
        if place is None:
            continue
        own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
        if stands_alone(config.to_dict()):
            ops = f"{place}{kind.rpartition('-')[0]}"
            slots = [slot for slot in supernet.alone if slot.rpartition("-")[0] == ops]
            runs = runs_of(module, _input(shape))
            for slot in slots:
                filled |= _narrow(supernet, slot, own, runs)
        else:
            filled |= _copy(supernet, f"{place}{kind}", module, own)
    tensors = supernet.state_dict()
    filled |= _open_shortcuts(tensors, filled)
    return Filled(inherited=len(filled), fresh=tuple(sorted({*tensors} - filled)))


def _walk_all(supernet: Supernet, network: Architecture, make: Any) -> Any:
    """Walks a network's parts, each layer at its own place."""
    kept, supernet.kept_layers = supernet.kept_layers, {}
    try:
        yield from supernet.walk(network, make)
    finally:
        supernet.kept_layers = kept


def _place_now(place: str, chosen: Mapping[int, Sequence[int]]) -> str | None:
    """The place in the supernet of what is at a place in the network; None for a layer that is left out."""
    stage, _, layer = place.partition("-layer")
    own = chosen.get(int(stage.removeprefix("stage")) - 1) if layer else None
    if own is None:
        return place
    return f"{stage}-layer{own.index(int(layer) - 1) + 1}" if int(layer) - 1 in own else None


def _copy(supernet: Supernet, slot: str, module: nn.Module, own: Mapping[str, torch.Tensor]) -> set[str]:
    """Copies one part into its slot; returns the names."""
    found: set[str] = set()
    for path, part in module.named_modules():
        rules = getattr(type(part), "parts", {})
        for name in (*part._parameters, *part._buffers):
            full = f"{path}.{name}" if path else name
            whole = getattr(supernet, stored_name(slot, full), None)
            if full in own and whole is not None and whole.ndim == own[full].ndim:
                _overlay(whole, own[full], rules.get(name))
                found.add(stored_name(slot, full))
    return found


@torch.no_grad()
def _narrow(supernet: Supernet, slot: str, own: Mapping[str, torch.Tensor], runs: Runs) -> set[str]:
    """Fills the slot of one config, as wide as a network's part or narrower, with that part; returns the names."""
    config, shape = supernet.alone[slot]
    with torch.device("meta"):
        module: nn.Module = make_part(config, shape)
    found = narrowed(own, runs, module, _input(shape))
    for name, value in found.items():
        whole = getattr(supernet, stored_name(slot, name))
        whole.copy_(value.to(whole))
    return {stored_name(slot, name) for name in found}


@torch.no_grad()
def _open_shortcuts(tensors: Mapping[str, torch.Tensor], filled: set[str]) -> set[str]:
    """Lets the projections of shortcuts that a network does not need, being as wide, begin as its identity.

    Members that are narrower before a shortcut than after it have one. Returns the names of what was filled.
    """
    inherited = {name.partition("/")[0] for name in filled}
    found = {
        name
        for name in tensors
        if name not in filled and "/shortcut/project/" in name and name.partition("/")[0] in inherited
    }
    for name in found:
        _identity(tensors[name])
    return found


@torch.no_grad()
def _identity(tensor: torch.Tensor) -> torch.Tensor:
    """Makes the weight of a projection the identity, its bias nothing."""
    return nn.init.dirac_(tensor) if tensor.ndim > 1 else tensor.zero_()


@torch.no_grad()
def _overlay(whole: torch.Tensor, given: torch.Tensor, rule: tuple[str, ...] | None) -> None:
    common = torch.Size(min(pair) for pair in zip(whole.shape, given.shape, strict=True))
    into, out_of = part_of(whole.shape, common, rule), part_of(given.shape, common, rule)
    if into:
        whole[into] = given[out_of].to(whole)
    else:
        whole.copy_(given)


def cut(state: Mapping[str, torch.Tensor], network: Architecture, smaller: Architecture) -> dict[str, torch.Tensor]:
    """Returns the weights of a narrower network of the same layers, of its units those that matter most.

    Args:
        state: Of `network`, units in the order of their importance.
    """
    assert [len(stage.layers) for stage in network.stages] == [len(stage.layers) for stage in smaller.stages]
    with torch.device("meta"):
        wide, narrow = Network(network.to_dict()), Network(smaller.to_dict())
    found = narrowed(state, runs_of(wide, _images(network)), narrow, _images(smaller))
    for name, tensor in narrow.state_dict().items():
        if name not in found and ".shortcut.project." in name:
            found[name] = _identity(torch.empty_like(tensor, device="cpu"))
    return found


def is_cut(network: Architecture, smaller: Architecture) -> bool:
    """Returns whether `cut` gives all weights of a narrower network of the same layers.

    It does not where their ratios of widths differ between layers that one tensor ties, such as a depthwise convolution
    that multiplies channels by two in one and by four in the other.
    """
    with torch.device("meta"):
        wide, narrow = Network(network.to_dict()), Network(smaller.to_dict())
    return narrow.state_dict().keys() <= cut(wide.state_dict(), network, smaller).keys()


def _images(network: Architecture) -> torch.Tensor:
    side = network.input.resolution
    return _input(Shape(network.input.channels, side, side))


def _input(shape: Shape) -> torch.Tensor:
    return torch.empty(BATCH, *shape.tensor, device="meta")
