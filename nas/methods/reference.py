"""Reference networks: sampled feasible members, relative to which scores are computed."""

from __future__ import annotations

import random

from nas.architecture import Architecture
from nas.sampling import BudgetSampler

_TRIES = 20


def reference_networks(sampler: BudgetSampler, count: int, *, seed: int) -> list[Architecture]:
    """Returns distinct feasible architectures, sampled by layout; fewer than `count` if there are no more."""
    rng, found = random.Random(f"reference-{seed}"), dict[str, Architecture]()
    for _ in range(_TRIES * count):
        if len(found) == count:
            break
        sampled = sampler.sample(rng).architecture
        found[sampled.digest] = sampled
    return list(found.values())
