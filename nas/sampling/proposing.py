"""A space, a resolution and a budget for the images at hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nas.costs import SpaceCosts
from nas.networks.loading import load_space
from nas.sampling.summary import summary

_MADE_FOR = {"coatnet-small": (28, 64), "coatnet-medium": (96, 192), "coatnet": (224, 224)}
"""Spaces of one kind by the image sides that they are made for, smallest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A search that suits images of a size.

    Attributes:
        budget: On multiply-adds, between the smallest and the largest network (their geometric mean, two digits).
        costs: Of the space at that resolution: `min` and `max` per metric.
    """

    space: str
    resolution: int
    budget: str
    costs: dict[str, Any]


def propose(side: int, *, channels: int, num_classes: int) -> Proposal:
    """Returns the space made for square images of that side, rounded up to what its networks divide by.

    Images between two spaces go to the one whose range is nearer by ratio; what is smaller or larger than all ranges is
    resized to the nearest.
    """
    name = min(_MADE_FOR, key=lambda each: _outside(side, *_MADE_FOR[each]))
    least, most = _MADE_FOR[name]
    space = load_space(name).adapted(channels=channels, num_classes=num_classes)
    stride = SpaceCosts(space).total_stride
    resolution = math.ceil(min(max(side, least), most) / stride) * stride
    costs = summary(space.adapted(resolution=resolution))["costs"]
    return Proposal(space=name, resolution=resolution, budget=_budget(**costs["macs"]), costs=costs)


def _outside(side: int, least: int, most: int) -> float:
    """Returns by what factor an image side lies outside a range; 1 inside."""
    return max(least / side, side / most, 1.0)


def _budget(min: int, max: int) -> str:
    middle = math.sqrt(min * max)
    unit, name = (10**9, "GFLOPs") if middle >= 995_000_000 else (10**6, "MFLOPs")
    return f"{float(f'{middle / unit:.2g}'):g}{name}"
