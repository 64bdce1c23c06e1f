"""Image sides that networks can be built for: windows, patches and strides do not fit all of them."""

from __future__ import annotations

from collections.abc import Callable

from nas.architecture import Architecture
from nas.costs.count_table import cost
from nas.costs.space_costs import SpaceCosts
from nas.errors import ArchitectureError, SpaceError
from nas.spaces import SearchSpace

_LEAST, _MOST = 8, 4096
_ROUND = 16
"""Multiples of it come first: where maps are rounded up, 221 pixels too would fit what is meant for 224."""


def misfit(space: SearchSpace) -> str | None:
    """Returns why the space's networks cannot be built at its resolution; None if one of each op can."""
    try:
        SpaceCosts(space)
    except SpaceError as fault:
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
        raise SpaceError(_refusal(fault, found.input.resolution, sides))
    return found


def sized_architecture(architecture: Architecture, side: int) -> Architecture:
    """Returns the architecture for images of `side` x `side`.

    Raises:
        ArchitectureError: If it cannot be built for that; names the nearest sides for which it can.
    """

    def fault(side: int) -> str | None:
        try:
            cost(architecture.at_resolution(side))
        except ArchitectureError as found:
            return str(found)
        return None

    why = fault(side)
    if why is not None:
        raise ArchitectureError(_refusal(why, side, nearest_sides(side, lambda each: fault(each) is None)))
    return architecture.at_resolution(side)


def nearest_sides(side: int, fits: Callable[[int], bool]) -> list[int]:
    """Returns the nearest smaller and the nearest larger image side that fit, from half of `side` to twice as much.

    In both directions multiples of 16 come first. None at all: the fault is not the size's.
    """
    found: list[int] = []
    for candidates in (range(side - 1, side // 2 - 1, -1), range(side + 1, 2 * side + 1)):
        allowed = [each for each in candidates if _LEAST <= each <= _MOST]
        in_order = sorted(allowed, key=lambda each: each % _ROUND > 0)  # stable: the nearest first
        found += [each for each in [next(filter(fits, in_order), None)] if each is not None]
    return found


def _refusal(fault: str, side: int, sides: list[int]) -> str:
    """Returns what is wrong: the size, where another one would do, since then no other remedy is needed."""
    if not sides:
        return fault
    where = fault.split(": ", 1)[0]
    return (
        f"{where}: cannot be built for images of {side}x{side}. Near sizes that fit: {' and '.join(map(str, sides))}."
    )
