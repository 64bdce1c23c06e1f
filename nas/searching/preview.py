"""What a search would be about, without training: sizes, costs, and the share of the space that fits."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.budget import Budget, check_budgets
from nas.costing import TABLE, SpaceCosts
from nas.options import SearchOptions
from nas.searching.sampling import shortest
from nas.space import SearchSpace

_HALF = 4_000_000
_DRAWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """Figures of a space under budgets, at the space's own input and number of classes.

    Attributes:
        costs: Per metric, `min`, `median` and `max` over all architectures.
        fits: The share of all architectures within all budgets; `layouts` has it per layout, with the `size`.
        exact: False where the medians and shares were estimated from uniform draws (very large spaces, or two
            budgets at once).
    """

    name: str
    digest: str
    size: int
    costs: dict[str, dict[str, int]]
    fits: float
    layouts: dict[str, dict[str, Any]]
    exact: bool


def dry_run(
    space: SearchSpace,
    budgets: Sequence[Budget],
    options: SearchOptions | None = None,
    rng: random.Random | None = None,
) -> DryRun:
    """Counts a space; nothing is trained and an infeasible budget is no error here (`fits` is 0)."""
    if options is not None and options.resolution:
        space = space.adapted(resolution=options.resolution)
    check_budgets(budgets)
    costs = SpaceCosts(space)
    extremes = {m: (shortest(costs, m, smallest=True), shortest(costs, m, smallest=False)) for m in ("macs", "params")}
    halves = {m: {layout: _halves(costs, layout, m) for layout in space.layouts} for m in ("macs", "params")}
    exact = len(budgets) < 2 and all(half is not None for found in halves.values() for half in found.values())
    layouts: dict[str, dict[str, Any]] = {}
    if exact:
        medians = {m: _median(list(halves[m].values()), space.size(), extremes[m]) for m in halves}
        for layout in space.layouts:
            size = space.size(layout)
            within = size if not budgets else _count(halves[budgets[0].metric][layout], int(budgets[0].bound))
            layouts[layout] = {"size": size, "fits": within / size}
    else:
        medians, layouts = _estimate(space, costs, budgets, rng or random.Random(0))
    TABLE.save()
    total = space.size()
    return DryRun(
        name=space.name,
        digest=space.digest,
        size=total,
        costs={m: {"min": low, "median": medians[m], "max": high} for m, (low, high) in extremes.items()},
        fits=sum(row["size"] * row["fits"] for row in layouts.values()) / total,
        layouts=layouts,
        exact=exact,
    )


def _halves(costs: SpaceCosts, layout: str, metric: str) -> Any:
    """All sums of the first and of the second half of the chain, by the width between; None if there are too many."""
    stages = len(costs.space.stages)
    middle = stages // 2
    first: dict[int, list[np.ndarray]] = defaultdict(list)
    for option in costs.stems:
        first[option.width].append(np.array([getattr(option, metric)]))
    left = {width: np.concatenate(parts) for width, parts in first.items()}
    for i in range(middle):
        left = _extend(costs, left, i, layout, metric)
        if sum(map(len, left.values())) > _HALF:
            return None
    pairs = []
    for width, sums in left.items():
        right = {width: np.zeros(1, dtype=np.int64)}
        for i in range(middle, stages):
            right = _extend(costs, right, i, layout, metric)
            if sum(map(len, right.values())) > _HALF:
                return None
        if right:
            pairs.append((sums, np.sort(np.concatenate(list(right.values())))))
    return pairs


def _extend(costs: SpaceCosts, sums: dict[int, np.ndarray], i: int, layout: str, metric: str) -> dict[int, np.ndarray]:
    found: dict[int, list[np.ndarray]] = defaultdict(list)
    for width_in, spent in sums.items():
        by_width: dict[int, list[int]] = defaultdict(list)
        for option in costs.options(i, width_in, layout[i]):
            by_width[option.width].append(getattr(option, metric))
        for width, values in by_width.items():
            found[width].append((spent[:, None] + np.array(values)[None, :]).ravel())
    return {width: np.concatenate(parts) for width, parts in found.items()}


def _count(halves: Any, bound: int) -> int:
    """How many architectures cost at most `bound`, exactly."""
    return sum(int(np.searchsorted(right, bound - left, side="right").sum()) for left, right in halves)


def _median(all_halves: list[Any], size: int, extremes: tuple[int, int]) -> int:
    """The smallest cost that at least half of all architectures do not exceed."""
    low, high = extremes
    while low < high:
        middle = (low + high) // 2
        if 2 * sum(_count(halves, middle) for halves in all_halves) >= size:
            high = middle
        else:
            low = middle + 1
    return low


def _estimate(space: SearchSpace, costs: SpaceCosts, budgets: Sequence[Budget], rng: random.Random) -> Any:
    values: dict[str, list[int]] = {"macs": [], "params": []}
    weights: list[float] = []
    layouts: dict[str, dict[str, Any]] = {}
    for layout in space.layouts:
        size, within, draws = space.size(layout), 0, _DRAWS // len(space.layouts)
        for _ in range(draws):
            cost = costs.cost(space.sample_genotype(rng, layout))
            within += all(budget.allows(cost) for budget in budgets)
            values["macs"].append(cost.macs)
            values["params"].append(cost.params)
            weights.append(size / draws)
        layouts[layout] = {"size": size, "fits": within / draws}
    medians = {}
    for metric, found in values.items():
        order = np.argsort(found)
        cumulated = np.cumsum(np.array(weights)[order])
        medians[metric] = int(np.array(found)[order][np.searchsorted(cumulated, cumulated[-1] / 2)])
    return medians, layouts
