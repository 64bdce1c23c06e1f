"""What is known of a measured metric before an architecture is whole, so that few samples are rejected.

A metric such as memory is a sum over parameters and, beside it, what the most demanding part needs. So a budget
bounds parameters, and forbids decisions that need too much even in the lightest network that makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nas.budget import Budget
from nas.budget_metrics import METRICS
from nas.costs import CostGraph, Option, SpaceCosts
from nas.registry import loaded
from nas.spaces import END, START, Node


class Bounds(Protocol):
    """Bounds of a measured metric over the networks of a space.

    Attributes:
        per_param: What each parameter of a network adds.
    """

    per_param: int

    def least(self, node: Node, option: Option) -> int:
        """Returns the least, beside the parameters, of any network that makes a decision at a node."""
        ...

    def most(self) -> int | float:
        """Returns what no network of the space exceeds."""
        ...


def bounds_of(costs: SpaceCosts, budgets: Sequence[Budget]) -> list[tuple[Budget, Bounds]]:
    """Returns the budgets on measured metrics that declare bounds, with these."""
    found: list[tuple[Budget, Bounds]] = []
    for budget in budgets:
        bounds = METRICS[budget.metric].bounds
        if bounds is not None:
            found.append((budget, loaded(bounds)(costs, budget.setting)))
    return found


def within(graph: CostGraph, bounds: Bounds, bound: float) -> CostGraph:
    """Returns the members of a graph without decisions that no member within a bound makes."""
    while graph.nodes:
        before, after = graph.spent("params"), graph.remaining("params")

        def fits(node: Node, option: Option, before: dict[Node, int] = before, after: dict[Node, int] = after) -> bool:
            params = before[node] + option.params + after[option.node]
            return bounds.per_param * params + bounds.least(node, option) <= bound

        kept = graph.restricted(fits)
        if sum(map(len, kept.options.values())) == sum(map(len, graph.options.values())):
            return kept
        graph = kept
    return graph


def most_params(budget: Budget, bounds: Bounds, graphs: Sequence[CostGraph]) -> int:
    """Returns the most parameters that a member of some graphs has within a budget, none of which is empty."""
    beside = min(least_beside_params(graph, bounds) for graph in graphs)
    return int(budget.bound - beside) // bounds.per_param


def least_beside_params(graph: CostGraph, bounds: Bounds) -> int:
    """Returns the least that the most demanding decision of any member needs: a path whose largest step is smallest."""
    found = {END: 0}
    for node in reversed(graph.nodes[:-1]):
        found[node] = min(max(bounds.least(node, o), found[o.node]) for o in graph.options[node])
    return found[START]
