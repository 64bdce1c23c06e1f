"""Image sides that fit where another one does not: windows, patches and tables do not go with all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_LEAST, _MOST = 8, 4096
_ROUND = 16
"""Multiples of it come first: where maps are rounded up, 221 pixels too would fit what is meant for 224."""


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


def size_refusal(fault: str, side: int, sides: Sequence[int]) -> str:
    """Returns what is wrong: the size, where another one would do, since then no other remedy is needed."""
    if not sides:
        return fault
    where, near = fault.split(": ", 1)[0], " and ".join(map(str, sides))
    return f"{where}: cannot be built for images of {side}x{side}. Near sizes that fit: {near}."
