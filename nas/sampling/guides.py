"""Guides: sums over blocks that follow measured metrics, for tables that come close to their bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from nas.architecture import Architecture
from nas.budget import Budget
from nas.budget_metrics import ADDITIVE, METRICS, Guide, Measure
from nas.costs import Option, SpaceCosts
from nas.sampling.feasible_set import FeasibleSet
from nas.sampling.shortest_paths import shortest
from nas.spaces import END, START, SearchSpace

_AXES = 2
"""Most metrics of one table (`nas.sampling.weight_table`)."""


def measures_of(budgets: Sequence[Budget]) -> dict[str, Measure]:
    """Returns what measures the metrics of budgets that are not additive, each in its budget's setting.

    Raises:
        NasError: If a metric cannot be measured in a budget's setting.
    """
    found = {budget.metric: METRICS[budget.metric].measurer(budget.setting) for budget in budgets}
    return {metric: measure for metric, measure in found.items() if measure is not None}


def guides_of(budgets: Sequence[Budget]) -> dict[str, Guide]:
    """Returns the guides of the metrics of budgets that are not additive, of those that have one."""
    measured = [budget for budget in budgets if budget.metric not in ADDITIVE]
    found = {budget.metric: METRICS[budget.metric].guiding(budget.bound, budget.setting) for budget in measured}
    return {metric: guide for metric, guide in found.items() if guide is not None}


def guided_costs(space: SearchSpace, guides: Mapping[str, Guide]) -> SpaceCosts:
    """Returns the costs of a space with the parts of guides."""
    return SpaceCosts(space, {metric: guide.part for metric, guide in guides.items()})


def tightest(costs: SpaceCosts, bounds: Mapping[str, int | float]) -> FeasibleSet:
    """Returns the bounds that a table is of: the two that leave least of a space's range, none above its largest."""
    extremes = {metric: [shortest(costs, metric, smallest=which) for which in (True, False)] for metric in bounds}

    def room(metric: str) -> float:
        low, high = (math.log(max(1, value)) for value in extremes[metric])
        return (math.log(max(1, bounds[metric])) - low) / max(high - low, 1e-9)

    kept = sorted(bounds, key=room)[:_AXES]
    return FeasibleSet(
        metrics=tuple(kept), bounds=tuple(int(min(bounds[metric], extremes[metric][1])) for metric in kept)
    )


def extreme_members(costs: SpaceCosts, metric: str, *, smallest: bool) -> list[Architecture]:
    """Returns of every layout the member with the smallest (or largest) sum of a metric's parts."""
    found: list[Architecture] = []
    for layout in costs.space.layouts:
        graph = costs.graph(layout)
        if not graph.nodes:
            continue
        rest, node, picked = graph.remaining(metric, smallest=smallest), START, list[Option]()
        while node != END:
            pick = min if smallest else max
            option = pick(graph.options[node], key=lambda each: each.of(metric) + rest[each.node])
            picked.append(option)
            node = option.node
        found.append(costs.space.decode(costs.space.genotype(option.choice for option in picked)))
    return found
