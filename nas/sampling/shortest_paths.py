"""Exact extremes of additive costs: shortest paths through a space's graph, which prove that a budget is infeasible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.costs import CostGraph, SpaceCosts
from nas.spaces import END, START


def shortest(costs: SpaceCosts, metric: str, *, smallest: bool) -> int:
    """Returns the exact least (or most) that any member of a space costs: a shortest (longest) path."""
    graphs = [costs.graph(layout) for layout in costs.space.layouts]
    found = [graph.remaining(metric, smallest=smallest)[START] for graph in graphs if graph.nodes]
    return min(found) if smallest else max(found)


def meets_all(graph: CostGraph, bounds: Mapping[str, int | float]) -> bool:
    """Returns whether a member meets two bounds at once, by an exact search over undominated partial sums."""
    (one, two), ahead = bounds, [graph.remaining(metric) for metric in bounds]
    if not graph.nodes or any(rest[START] > b for rest, b in zip(ahead, bounds.values(), strict=True)):
        return False
    if any(_meets_mixed(graph, bounds, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)):
        return True
    labels: dict[Any, set[tuple[int, int]]] = {START: {(0, 0)}}
    for node in graph.nodes[:-1]:
        sums = _undominated(labels.pop(node, set()))
        for option in graph.options[node] if sums else ():
            left = bounds[one] - ahead[0][option.node], bounds[two] - ahead[1][option.node]
            a, b = option.of(one), option.of(two)
            further = {(x + a, y + b) for x, y in sums if x + a <= left[0] and y + b <= left[1]}
            labels.setdefault(option.node, set()).update(further)
    return bool(labels.get(END))


def _meets_mixed(graph: CostGraph, bounds: Mapping[str, int | float], share: float) -> bool:
    """Returns whether the member that is cheapest in a mix of two metrics meets both bounds."""
    (one, a), (two, b) = bounds.items()
    best: dict[Any, tuple[float, int, int]] = {END: (0.0, 0, 0)}
    for node in reversed(graph.nodes[:-1]):
        found = []
        for option in graph.options[node]:
            mixed, x, y = best[option.node]
            x, y = x + option.of(one), y + option.of(two)
            found.append((mixed + (1 - share) * option.of(one) / a + share * option.of(two) / b, x, y))
        best[node] = min(found)
    return best[START][1] <= a and best[START][2] <= b


def _undominated(sums: set[tuple[int, int]]) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for total in sorted(sums):
        if not kept or total[1] < kept[-1][1]:
            kept.append(total)
    return kept
