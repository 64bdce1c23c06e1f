"""The parent scaled to a budget by a width multiplier: what one would do without a search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from nas.architecture import Architecture
from nas.budget import Cost
from nas.errors import ArchitectureError, SpaceError
from nas.networks.inheritance.filling import is_cut
from nas.sampling import BudgetSampler
from nas.spaces import Genotype, SearchSpace

_STEP = 0.01
_UNITS = (8, 16, 32, 64)
_LEAST = 0.1
Rounding = Callable[[float, int, Sequence[int]], int]
"""Of a scaled width, the network's own and the space's choices there, the width that is taken."""


def scaled(parent: Architecture, sampler: BudgetSampler) -> Architecture | None:
    """Returns the uniform scaling of a network that costs most within the budgets; None if none fits.

    All widths are multiplied by one factor and rounded to multiples of 8 (MobileNetV2's `make_divisible`), 16, 32 or
    64, or to the nearest widths that the space has. Depths, kernels and expansions stay. Only scalings count that can
    begin with the network's weights, each tensor with a part of that of the same name (`cut`).

    Args:
        parent: A member of the sampler's space.
    """
    fitting = [found for rounding in _roundings() if (found := _widest(parent, sampler, rounding)) is not None]
    fitting.sort(key=lambda each: (each[1].macs, each[1].params), reverse=True)
    return next((found for found, _ in fitting if is_cut(parent, found)), None)


def _roundings() -> Iterator[Rounding]:
    for unit in _UNITS:
        yield lambda width, own, _, unit=unit: _divisible(width, unit, own)
    yield lambda width, own, choices: min((*choices, own), key=lambda each: (abs(each - width), each))


def _widest(parent: Architecture, sampler: BudgetSampler, rounding: Rounding) -> tuple[Architecture, Cost] | None:
    """Returns the first scaling that fits, from the widest on, and its cost."""
    for wanted in _narrower(sampler.space.encode(parent), sampler.space, rounding):
        try:
            found = sampler.space.decode(wanted)
            cost = sampler.cost_within(found)
        except (ArchitectureError, SpaceError):
            continue
        if cost is not None:
            return found, cost
    return None


def _narrower(genotype: Genotype, space: SearchSpace, rounding: Rounding) -> Iterator[Genotype]:
    seen: set[Genotype] = {genotype}
    for step in range(1, round((1 - _LEAST) / _STEP) + 1):
        factor = 1 - step * _STEP
        stem = tuple(
            rounding(value * factor, value, values) if name == "width" else value
            for (name, values), value in zip(space.stem.choices, genotype.stem, strict=True)
        )
        stages = tuple(
            gene._replace(width=rounding(gene.width * factor, gene.width, stage.widths))
            for stage, gene in zip(space.stages, genotype.stages, strict=True)
        )
        found = Genotype(stem=stem, stages=stages)
        if found not in seen:
            seen.add(found)
            yield found


def _divisible(width: float, unit: int, most: int) -> int:
    """The nearest multiple of a unit, not more than a tenth below, and at most the network's own."""
    nearest = max(unit, int(width + unit / 2) // unit * unit)
    return min(most, nearest if nearest >= 0.9 * width else nearest + unit)
