"""Single stages of a supernet's members, to be trained on a network's maps: from its stage's input to its output."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nas.architecture import Architecture
from nas.networks.network import Network
from nas.networks.shared_weights import slot_of
from nas.networks.supernet import Supernet
from nas.ops import Shape

STEM = -1
"""Stands in for the stage before the first."""
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStage:
    """A stage of a member.

    Attributes:
        place: Among the stages of the space, from 0.
        source: Place of the stage whose map it reads, `STEM` for the first.
        parts: Its transition, if any, and its layers: place, config and the shape of the input of each.
        width: Channels of its map.
    """

    place: int
    source: int
    parts: tuple[tuple[str, Any, Shape], ...]
    width: int

    @property
    def slots(self) -> set[str]:
        """The names of the storage of its parts."""
        return {slot_of(*part) for part in self.parts}

    def error(self, supernet: Supernet, maps: Mapping[int, torch.Tensor]) -> torch.Tensor:
        """Returns the squared error of its map from a network's, as a share of the variance of that within channels.

        It reads as many of the first channels of the network's map as it takes, and is compared with as many as it has:
        those that matter most, where units are in that order. 1 is the error of a map that is constant per channel.

        Args:
            maps: The network's map (B, C, H, W) by place.
        """
        x = maps[self.source][:, : self.parts[0][2].channels]
        for part in self.parts:
            x = supernet.skeleton(*part)(x)
        goal = maps[self.place][:, : self.width].float()
        variance = goal.var((0, 2, 3), correction=0).mean().clamp_min(_LEAST_VARIANCE)
        return ((x.float() - goal) ** 2).mean() / variance


def stages_to_learn(
    supernet: Supernet, member: Architecture, fresh: Collection[str], widths: Mapping[int, int]
) -> list[MemberStage]:
    """Returns the stages of a member that have storage of their own and can be compared with a network's.

    Args:
        fresh: Names of the storage that has nothing of the network.
        widths: Channels of the network's maps by place; wider stages have nothing to be compared with.
    """
    parts: dict[int, list[tuple[str, Any, Shape]]] = {}
    after: dict[int, int] = {}

    def make(place: str, config: Any, shape: Shape) -> Any:
        module = supernet.skeleton(place, config, shape)
        stage = place.partition("-")[0].removeprefix("stage")
        if stage.isdigit():
            parts.setdefault(int(stage) - 1, []).append((place, config, shape))
            after[int(stage) - 1] = module.shape.channels
        return module

    with torch.no_grad():  # so that no weight counts as taking part
        for _ in supernet.walk(member, make):
            pass
    sources = [STEM, *parts]
    stages = [
        MemberStage(place=place, source=source, parts=tuple(own), width=after[place])
        for source, (place, own) in zip(sources, parts.items(), strict=False)
    ]
    return [
        stage
        for stage in stages
        if stage.slots & set(fresh)
        and stage.parts[0][2].channels <= widths.get(stage.source, 0)
        and stage.width <= widths.get(stage.place, 0)
    ]


@torch.no_grad()
def stage_maps(network: Network, places: Sequence[int], x: torch.Tensor) -> dict[int, torch.Tensor]:
    """Returns a network's maps (B, C, H, W) for images by the places of its stages, and that of its stem."""
    found = {STEM: network.stem(x)}
    x = found[STEM]
    for place, stage in zip(places, network.stages, strict=True):
        x = found[place] = stage(x)
    return found
