"""Spaces and networks for images of another side, checked by counting them."""

from __future__ import annotations

from nas.architecture import Architecture
from nas.costs.count_table import cost
from nas.costs.space_costs import SpaceCosts
from nas.errors import ArchitectureError, SpaceError
from nas.networks.image_sizes import nearest_sides, size_refusal
from nas.spaces import SearchSpace


def misfit(space: SearchSpace) -> str | None:
    """Returns why the space's networks cannot be built at its resolution; None if one of each op can."""
    try:
        SpaceCosts(space)
    except SpaceError as fault:
        return str(fault)
    return None


def network_misfit(architecture: Architecture) -> str | None:
    """Returns why a network cannot be built at its resolution; None if it can."""
    try:
        cost(architecture)
    except ArchitectureError as fault:
        return str(fault)
    return None


def sized_space(space: SearchSpace, side: int | None = None) -> SearchSpace:
    """Returns the space for images of `side` x `side`; None is its own side, which is checked alike.

    Raises:
        SpaceError: If its networks cannot be built for that; names the nearest sides for which they can.
    """
    found = space if side is None else space.adapted(resolution=side)
    fault = misfit(found)
    if fault is not None:
        sides = nearest_sides(found.input.resolution, lambda each: misfit(space.adapted(resolution=each)) is None)
        raise SpaceError(size_refusal(fault, found.input.resolution, sides))
    return found


def sized_architecture(architecture: Architecture, side: int) -> Architecture:
    """Returns the architecture for images of `side` x `side`.

    Raises:
        ArchitectureError: If it cannot be built for that; names the nearest sides for which it can.
    """
    found = architecture.at_resolution(side)
    fault = network_misfit(found)
    if fault is not None:
        sides = nearest_sides(side, lambda each: network_misfit(architecture.at_resolution(each)) is None)
        raise ArchitectureError(size_refusal(fault, side, sides))
    return found
