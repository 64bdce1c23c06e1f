"""The parent scaled to a budget by a width multiplier: what one would do without a search."""

from __future__ import annotations

from collections.abc import Iterator

from nas.architecture import Architecture
from nas.errors import ArchitectureError, SpaceError
from nas.sampling import BudgetSampler
from nas.spaces import Genotype, SearchSpace

_STEP = 0.01
_UNITS = (8, 16, 32, 64)
_LEAST = 0.1


def scaled(parent: Architecture, sampler: BudgetSampler) -> Architecture | None:
    """Returns the widest uniform scaling of a network within the budgets; None if none fits.

    All widths are multiplied by one factor and rounded to multiples of 8 (MobileNetV2's `make_divisible`), or of 16 to
    64 where the network's layers need that. Depths, kernels and expansions stay.

    Args:
        parent: A member of the sampler's space.
    """
    space = sampler.space
    genotype = space.encode(parent)
    for unit in _UNITS:
        for wanted in _narrower(genotype, space, unit):
            try:
                found = space.decode(wanted)
                if sampler.cost_within(found) is not None:
                    return found
            except (ArchitectureError, SpaceError):
                continue
    return None


def _narrower(genotype: Genotype, space: SearchSpace, unit: int) -> Iterator[Genotype]:
    names = [name for name, _ in space.stem.choices]
    seen: set[Genotype] = {genotype}
    steps = round((1 - _LEAST) / _STEP)
    for i in range(1, steps + 1):
        factor = 1 - i * _STEP
        stem = tuple(
            _divisible(value * factor, unit, value) if name == "width" else value
            for name, value in zip(names, genotype.stem, strict=True)
        )
        stages = tuple(
            gene._replace(width=_divisible(gene.width * factor, unit, gene.width)) for gene in genotype.stages
        )
        found = Genotype(stem=stem, stages=stages)
        if found not in seen:
            seen.add(found)
            yield found


def _divisible(width: float, unit: int, most: int) -> int:
    """The nearest multiple of a unit, not more than a tenth below, and at most the network's own."""
    nearest = max(unit, int(width + unit / 2) // unit * unit)
    return min(most, nearest if nearest >= 0.9 * width else nearest + unit)
