"""The feasible set of budgets: which costs a search may propose, and what it says where none is feasible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.budget import Cost
from nas.costs import CostGraph, Option
from nas.spaces import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class FeasibleSet:
    """The costs within every bound that use at least a share of one of them.

    Attributes:
        metrics: What is bounded: names of `nas.budget_metrics.METRICS`.
        bounds: The most of each.
        min_share: The least share of the budget to use: of one bound at least; 0 asks for none.
    """

    metrics: tuple[str, ...]
    bounds: tuple[int | float, ...]
    min_share: float = 0.0

    def contains(self, cost: Cost) -> bool:
        """Returns whether a cost is feasible."""
        used, share = False, self.min_share
        for metric, bound in zip(self.metrics, self.bounds, strict=True):
            value = _value(cost, metric)
            if value > bound:
                return False
            used = used or value >= share * bound
        return used

    def violations(self, cost: Cost) -> dict[str, float]:
        """Returns by how much each rule is broken, in shares of the bounds; a rule that is kept has at most 0."""
        shares = {m: _value(cost, m) / b for m, b in zip(self.metrics, self.bounds, strict=True)}
        over = {metric: share - 1 for metric, share in shares.items()}
        return {"min_share": self.min_share - max(shares.values()), **over}

    def violation(self, cost: Cost) -> float:
        """Returns how far a cost is from feasible, in shares of the bounds; 0 for a feasible one."""
        short, *over = self.violations(cost).values()
        return sum(max(0.0, share) for share in over) + max(0.0, short)

    def may_still_reach(self, spent: Sequence[int], least: Sequence[int], most: Sequence[int] | None = None) -> bool:
        """Returns whether costs that are not spent in full yet may end up feasible, taking each metric alone.

        Args:
            spent: Of each metric, what is spent so far.
            least: What is spent beyond that at least.
            most: What is spent beyond that at most; None asks about the upper bounds alone.
        """
        if not all(s + rest <= b for s, rest, b in zip(spent, least, self.bounds, strict=True)):
            return False
        return most is None or any(
            s + rest >= self.min_share * b for s, rest, b in zip(spent, most, self.bounds, strict=True)
        )

    def options_within(self, graph: CostGraph) -> dict[Node, list[Option]]:
        """Returns per node of a graph the decisions that some path within each bound, taken alone, makes."""
        before, after = (
            [graph.spent(metric) for metric in self.metrics],
            [graph.remaining(metric) for metric in self.metrics],
        )
        kept: dict[Node, list[Option]] = {}
        for node, options in graph.options.items():
            spent = [each[node] for each in before]
            kept[node] = [
                option
                for option in options
                if self.may_still_reach(
                    [s + option.of(metric) for s, metric in zip(spent, self.metrics, strict=True)],
                    [each[option.node] for each in after],
                )
            ]
        return kept


def _value(cost: Cost, metric: str) -> Any:
    value = cost.value(metric)
    assert value is not None, f"a budget on {metric} needs a cost that was measured"
    return value
