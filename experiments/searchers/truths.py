"""Made-up accuracies of architectures: what pays is known, and differs from seed to seed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

import numpy as np

from nas.architecture import Architecture
from nas.sampling.budget_sampler import BudgetSampler
from nas.searchers.encoding import Encoding
from nas.spaces import Genotype, SearchSpace

KINDS = ("width", "depth", "saturation", "bottleneck", "up to a point", "cost", "rugged")
NOISE = 0.1
"""Of the truth's standard deviation over random members: what two trainings of one network differ by."""


class Truth:
    """A made-up accuracy, in standard deviations over random members.

    Args:
        kind: One of KINDS. Everywhere some ops and choices pay too, stage by stage, where the space has any.
            width: wider stages, by unequal weights. depth: more layers. saturation: both, ever less.
            bottleneck: a little of both, and the narrowest stage counts most. up to a point: a best width and depth of
            every stage. cost: a power law of parameters and multiply-adds. rugged: a random smooth function.
    """

    def __init__(self, sampler: BudgetSampler, kind: str, seed: int) -> None:
        self._sampler, self._space, self._kind = sampler, sampler.space, kind
        rng = np.random.default_rng([seed, KINDS.index(kind)])
        stages = len(self._space.stages) + 1
        self._weights = rng.dirichlet(np.ones(stages), 3)
        self._peaks = rng.uniform(0.3, 1.0, (2, stages))
        self._encoding = Encoding(self._space)
        count = len(self._encoding.groups)
        self._slopes = rng.normal(size=count) * 0.3
        self._waves = rng.normal(size=(64, count)) * 2.0, rng.uniform(0, 2 * math.pi, 64), rng.normal(size=64) / 8
        self._power = rng.uniform(0.2, 0.8)
        self._shift, self._scale = 0.0, 1.0
        drawing = random.Random(seed)
        values = [self(sampler.sample(drawing).architecture) for _ in range(500)]
        self._shift, self._scale = float(np.mean(values)), float(np.std(values))
        self._seed = seed

    def __call__(self, architecture: Architecture) -> float:
        """Returns the accuracy without noise."""
        genotype = self._space.encode(architecture)
        return float((self._value(genotype) - self._shift) / self._scale)

    def measured(self, architecture: Architecture) -> float:
        """Returns what one training shows: always the same for one architecture."""
        own = random.Random(f"{self._seed}:{architecture.digest}")
        return self(architecture) + own.gauss(0, NOISE)

    def best(self, seed: int = 0) -> float:
        """Returns the highest value that climbing from many members finds."""
        rng = random.Random(seed)
        return max(self._climb(rng) for _ in range(12))

    def _climb(self, rng: random.Random) -> float:
        here = max((self._sampler.sample(rng).architecture for _ in range(100)), key=self)
        value, misses = self(here), 0
        while misses < 400:
            there = here
            for _ in range(rng.choice((1, 2, 3))):
                there = self._space.mutate(there, rng)
            misses += 1
            if self._sampler.member(self._space.encode(there)) is not None and self(there) > value:
                here, value, misses = there, self(there), 0
        return value

    def _value(self, genotype: Genotype) -> float:
        point = self._encoding.points([genotype])[0]
        widths, depths = sizes(self._space, genotype)
        by_width, by_depth, mixed = self._weights
        others = 0.3 * self._slopes @ point
        if self._kind == "width":
            return by_width @ widths + 0.3 * others
        if self._kind == "depth":
            return by_depth @ depths + 0.1 * by_width @ widths + 0.3 * others
        if self._kind == "saturation":
            return by_width @ (1 - np.exp(-3 * widths)) + by_depth @ (1 - np.exp(-3 * depths)) + 0.3 * others
        if self._kind == "bottleneck":
            return 0.5 * widths.min() + 0.3 * (mixed @ (widths * depths)) + 0.2 * by_width @ widths + 0.3 * others
        if self._kind == "up to a point":
            away = by_width @ (widths - self._peaks[0]) ** 2 + by_depth @ (depths - self._peaks[1]) ** 2
            return 0.3 * others - away
        if self._kind == "cost":
            cost = self._sampler.cost(genotype)
            return self._power * math.log(cost.params) + (1 - self._power) * math.log(cost.macs) + others
        slopes, phases, heights = self._waves
        return 0.5 * (by_width @ widths) + others + float(np.cos(slopes @ point / 2 + phases) @ heights)


def sizes(space: SearchSpace, genotype: Genotype) -> tuple[np.ndarray, np.ndarray]:
    """Returns the widths and depths of stem and stages, each from 0 to 1, widths by their logarithm."""
    stems = [space.stem.width(values) for values in space.stem.combinations]
    widths = [_place(space.stem.width(genotype.stem), stems)]
    depths = [1.0]
    for stage, gene in zip(space.stages, genotype.stages, strict=True):
        widths.append(_place(gene.width, stage.widths) if gene.depth else 0.0)
        depths.append(_place(gene.depth + 1, [depth + 1 for depth in stage.depths]))
    return np.array(widths), np.array(depths)


def _place(value: float, values: Iterable[float]) -> float:
    low, high = math.log(min(values)), math.log(max(values))
    return (math.log(value) - low) / (high - low) if high > low else 1.0
