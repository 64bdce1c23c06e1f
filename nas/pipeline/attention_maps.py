"""Check that attention sees enough positions at the training resolution."""

from __future__ import annotations

import math
import random

from nas.costs import TABLE
from nas.methods.features import attending
from nas.sampling import BudgetSampler
from nas.spaces import present_stages

LEAST_SIDE = 7
"""Rows and columns of positions below which a convolution sees nearly as much as attention does."""
_MOST_LAYOUTS = 32


def attention_caution(sampler: BudgetSampler, *, resolution: int, train_resolution: int) -> str | None:
    """Returns a caution if an attention stage would see fewer than 7x7 positions, else None.

    Args:
        resolution: The resolution at which costs are counted.
    """
    rng, smallest = random.Random(0), dict[int, int]()
    for layout in sampler.layouts[:_MOST_LAYOUTS]:
        architecture = sampler.sample(rng, layout=layout).architecture
        rows = TABLE.architecture(architecture)[1:]
        numbers = present_stages(sampler.space.layout(sampler.space.encode(architecture)), len(architecture.stages))
        for number, stage, (_, counted) in zip(numbers, attending(architecture), rows, strict=False):
            if any(stage):
                smallest[number] = counted.shape[1]
    found = {number: math.ceil(side * train_resolution / resolution) for number, side in smallest.items()}
    few = {number: side for number, side in found.items() if side < LEAST_SIDE}
    if not few:
        return None
    seen = ", ".join(f"{side}x{side} in stage {number}" for number, side in sorted(few.items()))
    wanted = max(math.ceil(LEAST_SIDE * resolution / smallest[number]) for number in few)
    remedy = f"Use --train-resolution {wanted}"
    if wanted > resolution:
        wanted = math.ceil(wanted / sampler.costs.total_stride) * sampler.costs.total_stride
        times = (wanted / resolution) ** 2
        remedy = f"Use --resolution {wanted}, where networks have about {times:.0f} times the multiply-adds"
    return (
        f"At {train_resolution} pixels attention sees few positions ({seen}; below {LEAST_SIDE}x{LEAST_SIDE}, a "
        f"convolution sees nearly as much), so accuracies hardly show its benefit. {remedy}."
    )
