"""What a search would be about, without training: sizes, costs, and the share of the space that fits."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.budget import Budget, Cost, check_budgets
from nas.budget_metrics import ADDITIVE
from nas.costs import TABLE, CostGraph, SpaceCosts, sized_space
from nas.options import SearchOptions
from nas.sampling.guides import extreme_members, guided_costs, guides_of, measures_of, tightest
from nas.sampling.measured_bounds import Bounds, bounds_of, most_params, within
from nas.sampling.shortest_paths import meets_all, shortest
from nas.sampling.weight_table import WeightTable
from nas.spaces import END, START, Node, SearchSpace

_HALF = 8_000_000
"""Sums to look at in each half of a space before its figures are estimated."""
_COUNTABLE = 1 << 62
_SAMPLES, _TRIES, _MEASURED = 20_000, 500, 100
_Sums = tuple[np.ndarray, np.ndarray]
"""Sums in order, and how many ways there are to each."""
_Half = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Through one node: sums before it with their ways, sums after it with their ways added up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """Figures of a space under budgets, at the space's own input and number of classes.

    Attributes:
        costs: Per metric, `min`, `median` and `max` over all architectures; of a measured metric over those that were
            sampled.
        fits: The share of all architectures within all budgets; `layouts` has it per layout, with the `size`.
        exact: False where the medians and shares were estimated from uniform samples (very large spaces, two budgets
            at once, or a metric that is measured).
    """

    name: str
    digest: str
    size: int
    costs: dict[str, dict[str, int | float]]
    fits: float
    layouts: dict[str, dict[str, Any]]
    exact: bool


def dry_run(
    space: SearchSpace,
    budgets: Iterable[Budget | str] | Budget | str,
    options: SearchOptions | None = None,
    rng: random.Random | None = None,
) -> DryRun:
    """Counts the members of a space and what they cost, without training; an infeasible budget has `fits` 0."""
    if options is not None and options.resolution:
        space = sized_space(space, options.resolution)
    budgets = check_budgets(budgets)
    guides = guides_of(budgets)
    costs = guided_costs(space, guides)
    extremes = {m: (shortest(costs, m, smallest=True), shortest(costs, m, smallest=False)) for m in ADDITIVE}
    total, layouts = space.size(), {}
    countable = len(budgets) < 2 and all(budget.metric in ADDITIVE for budget in budgets)
    halves = _all_halves(costs) if countable else None
    figures: dict[str, dict[str, int | float]] = {}
    if halves is not None:
        medians = {m: _median(list(found.values()), total, extremes[m]) for m, found in halves.items()}
        for layout in space.layouts:
            size = space.size(layout)
            within = size if not budgets else _count(halves[budgets[0].metric][layout], int(budgets[0].bound))
            layouts[layout] = {"size": size, "fits": within / size if size else 0.0}
    else:
        rng = rng or random.Random(0)
        medians, layouts = _estimate(space, costs, budgets, rng)
        figures = _measured_figures(costs, budgets, [*guides], rng)
    TABLE.save()
    return DryRun(
        name=space.name,
        digest=space.digest,
        size=total,
        costs={m: {"min": low, "median": medians[m], "max": high} for m, (low, high) in extremes.items()} | figures,
        fits=sum(row["size"] / total * row["fits"] for row in layouts.values()),
        layouts=layouts,
        exact=halves is not None,
    )


def _all_halves(costs: SpaceCosts) -> dict[str, dict[str, list[_Half]]] | None:
    """Per metric and layout, what counts its members exactly; None if that is too much work."""
    space, found = costs.space, {}
    for metric in ADDITIVE:
        found[metric] = {}
        for layout in space.layouts:
            halves = _halves(costs.graph(layout), space.size(layout), len(space.stages) // 2, metric)
            if halves is None:
                return None
            found[metric][layout] = halves
    return found


def _halves(graph: CostGraph, layout_size: int, middle: int, metric: str) -> list[_Half] | None:
    """All sums up to the stage `middle` and all from there on, by the node between; None if there are too many."""
    if layout_size >= _COUNTABLE:
        return None
    behind = [node for node in graph.nodes if not _before(node, middle)]
    right: dict[Node, _Sums] = {END: (np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64))}
    work = 0
    for node in reversed(behind[:-1]):
        shifted = [_shifted(right[o.node], o.of(metric)) for o in graph.options[node]]
        work += sum(len(sums) for sums, _ in shifted)
        if work > _HALF:
            return None
        right[node] = _merged(shifted)
    parts: dict[Node, list[_Sums]] = {START: [(np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64))]}
    left: dict[Node, _Sums] = {}
    work = 0
    for node in graph.nodes:
        if node not in parts:
            continue
        left[node] = _merged(parts.pop(node))
        if _before(node, middle):
            for option in graph.options[node]:
                parts.setdefault(option.node, []).append(_shifted(left[node], option.of(metric)))
                work += len(left[node][0])
            del left[node]
            if work > _HALF:
                return None
    return [(*left[node], right[node][0], np.cumsum(right[node][1])) for node in left]


def _before(node: Node, middle: int) -> bool:
    return node != END and (node.stage < middle or node == START)


def _shifted(sums: _Sums, by: int) -> _Sums:
    return sums[0] + by, sums[1]


def _merged(parts: list[_Sums]) -> _Sums:
    """Sums in order, each once, with how many ways there are to it."""
    if len(parts) == 1:
        return parts[0]
    sums, ways = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.argsort(sums, kind="stable")
    sums, ways = sums[order], ways[order]
    first = np.flatnonzero(np.concatenate([[True], sums[1:] != sums[:-1]]))
    return sums[first], np.add.reduceat(ways, first)


def _count(halves: list[_Half], bound: int) -> int:
    """Returns how many architectures cost at most `bound`, exactly."""
    total = 0
    for left, ways, right, cumulated in halves:
        places = np.searchsorted(right, bound - left, side="right")
        total += int((ways * np.concatenate([[0], cumulated])[places]).sum())
    return total


def _median(all_halves: list[list[_Half]], size: int, extremes: tuple[int, int]) -> int:
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
    values: dict[str, list[np.ndarray]] = {"macs": [], "params": []}
    weights: list[np.ndarray] = []
    layouts: dict[str, dict[str, Any]] = {}
    generator = np.random.default_rng(rng.getrandbits(64))
    count = max(200, _SAMPLES // len(space.layouts))
    counted = [budget for budget in budgets if budget.metric in ADDITIVE]
    measured = [budget for budget in budgets if budget.metric not in ADDITIVE]
    bounds = bounds_of(costs, measured)
    for layout in space.layouts:
        size = space.size(layout)
        if not size:
            continue
        sampled = _sampled(costs.graph(layout), space.graph(layout).counts, count, generator)
        within = np.ones(count, dtype=bool)
        for budget in counted:
            within &= sampled[budget.metric] <= budget.bound
        for metric, found in values.items():
            found.append(sampled[metric])
        weights.append(np.full(count, size / space.size() / count))
        share = float(within.mean())
        if measured:
            share = _measured_share(costs, layout, counted, measured, bounds, rng)
        elif share <= 0.05:
            # Samples say nothing of a share that hardly any of them falls into.
            share = _thin_share(costs.graph(layout), size, counted, rng)
        layouts[layout] = {"size": size, "fits": share}
    medians = {}
    for metric, parts in values.items():
        found = np.concatenate(parts)
        order = np.argsort(found)
        cumulated = np.cumsum(np.concatenate(weights)[order])
        medians[metric] = int(found[order][np.searchsorted(cumulated, cumulated[-1] / 2)])
    return medians, layouts


def _thin_share(graph: CostGraph, size: int, budgets: Sequence[Budget], rng: random.Random) -> float:
    """The share of members within additive budgets by their table, corrected by samples from it; 0 only if none is."""
    bounds = {budget.metric: int(budget.bound) for budget in budgets}
    if any(graph.remaining(metric)[START] > bound for metric, bound in bounds.items()):
        return 0.0
    if len(bounds) > 1 and not meets_all(graph, bounds):
        return 0.0
    table = WeightTable(graph, list(bounds), list(bounds.values()), fair=False)
    window = (0,) * len(bounds), table.top
    sampled = [table.sample(rng, window) or [] for _ in range(_TRIES)]
    hits = sum(
        bool(picked) and all(sum(o.of(metric) for o in picked) <= bound for metric, bound in bounds.items())
        for picked in sampled
    )
    return max(table.weight(window) * hits / _TRIES, 1 / size)


def _measured_share(
    costs: SpaceCosts,
    layout: str,
    counted: Sequence[Budget],
    measured: Sequence[Budget],
    known: Sequence[tuple[Budget, Bounds]],
    rng: random.Random,
) -> float:
    """The share of a layout's members within all budgets, by some samples from the table of the tightest."""
    graph, space = costs.graph(layout), costs.space
    for budget, bounds in known:
        graph = within(graph, bounds, budget.bound)
    if not graph.nodes:
        return 0.0
    most: dict[str, int | float] = {budget.metric: int(budget.bound) for budget in counted}
    for budget, bounds in known:
        most["params"] = min(most_params(budget, bounds, [graph]), most.get("params", _COUNTABLE))
    most |= {metric: guide.bound for metric, guide in guides_of(measured).items()}
    tabled = tightest(costs, most or {"macs": graph.remaining("macs", smallest=False)[START]})
    if not tabled.may_still_reach([0] * len(tabled.metrics), [graph.remaining(m)[START] for m in tabled.metrics]):
        return 0.0
    table = WeightTable(graph, tabled.metrics, [int(bound) for bound in tabled.bounds], fair=False)
    window = (0,) * len(tabled.metrics), table.top
    measures = measures_of(measured)
    sampled = hits = asked = 0
    while sampled < _TRIES and asked < _MEASURED:
        sampled += 1
        options = table.sample(rng, window) or []
        cost = Cost(macs=sum(o.macs for o in options), params=sum(o.params for o in options))
        if not options or not all(budget.allows(cost) for budget in counted):
            continue
        architecture = space.decode(space.genotype(option.choice for option in options))
        for metric, measure in measures.items():
            cost = cost.measured(metric, measure(architecture))
        asked, hits = asked + 1, hits + all(budget.allows(cost) for budget in measured)
    return table.weight(window) * hits / sampled


def _measured_figures(
    costs: SpaceCosts, budgets: Sequence[Budget], guided: Sequence[str], rng: random.Random
) -> dict[str, dict[str, int | float]]:
    """Least, median and most of each measured metric over uniform samples and the ends of its guide."""
    found: dict[str, dict[str, int | float]] = {}
    for metric, measure in measures_of(budgets).items():
        values = sorted(measure(costs.space.sample(rng, by="architecture")) for _ in range(_MEASURED))
        ends = [
            measure(architecture)
            for smallest in (True, False)
            for architecture in (extreme_members(costs, metric, smallest=smallest) if metric in guided else ())
        ]
        found[metric] = {"min": min(values + ends), "median": values[len(values) // 2], "max": max(values + ends)}
    return found


def _sampled(graph: CostGraph, counts: dict[Node, int], count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Costs of uniform samples, all taking their way through the graph side by side."""
    costs = {metric: np.zeros(count, dtype=np.int64) for metric in ADDITIVE}
    waiting: dict[Node, list[np.ndarray]] = {START: [np.arange(count)]}
    for node in graph.nodes[:-1]:
        if node not in waiting:
            continue
        here, options = np.concatenate(waiting.pop(node)), graph.options[node]
        shares = np.cumsum([counts[option.node] / counts[node] for option in options])
        picks = np.minimum(np.searchsorted(shares, rng.random(len(here)), side="right"), len(options) - 1)
        for metric, found in costs.items():
            found[here] += np.array([option.of(metric) for option in options])[picks]
        targets = {target: i for i, target in enumerate(dict.fromkeys(option.node for option in options))}
        numbers = np.array([targets[option.node] for option in options])[picks]
        for target, number in targets.items():
            waiting.setdefault(target, []).append(here[numbers == number])
    return costs
