"""The feasible member with the largest sum of something over its decisions, such as its parameters.

A search over the partial sums of a space's graph, node by node: of the ways to a node that spend the same, the one
worth most is kept. It is exact as long as a node has no more than `MOST_WAYS` such ways; beyond that, the budget is cut
into bins, and of the ways in a bin again the one worth most is kept, so that the result may fall short of the largest
by what a bin holds. Budgets on metrics that are measured per architecture are met by trying the best ways in turn.

`nas.methods.blockwise.best_first` yields all members in order, and would not end here: counts have far more ties than
trained scores do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nas.costs import CostGraph, Option
from nas.sampling.budget_sampler import BudgetSampler, Member
from nas.spaces import END, START, Node

MOST_WAYS, LEAST_WAYS, MOST_STEPS = 4096, 256, 1 << 22
"""Ways kept per node, fewer where a graph has so many edges that they would take more steps than the last."""
_TRIES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ways:
    """Ways from START to a node.

    Attributes:
        spent: By way and metric.
        worth: By way.
        before: The node that each comes from, the number of the way there and of the decision, by way.
    """

    spent: np.ndarray
    worth: np.ndarray
    before: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> _Ways:
        return _Ways(spent=self.spent[chosen], worth=self.worth[chosen], before=self.before[chosen])


def largest_member(sampler: BudgetSampler, worth: Callable[[Node, Option], float]) -> Member | None:
    """Returns the feasible member with the largest sum of `worth`; of equal ones one that spends least.

    Args:
        worth: What a decision at a node adds.

    Returns:
        None if the ways that were tried broke budgets on measured metrics.
    """
    graph, metrics = sampler.costs.whole_graph, sampler.tabled.metrics
    ahead = {node: [graph.remaining(metric)[node] for metric in metrics] for node in graph.nodes}
    bounds = np.array(sampler.tabled.bounds, dtype=np.int64)
    most = min(MOST_WAYS, max(LEAST_WAYS, MOST_STEPS // sum(map(len, graph.options.values()))))
    start = np.zeros((1, len(metrics)), dtype=np.int64)
    arriving = {START: [_Ways(spent=start, worth=np.zeros(1), before=np.zeros((1, 3), dtype=np.int64))]}
    found: dict[Node, _Ways] = {}
    for number, node in enumerate(graph.nodes):
        if node not in arriving:
            continue
        ways = _kept(_joined(arriving.pop(node)), np.array(ahead[node]), bounds, most)
        found[node] = ways
        for place, option in enumerate(graph.options.get(node, ())):
            spent = ways.spent + np.array([option.of(metric) for metric in metrics], dtype=np.int64)
            within = np.nonzero((spent + np.array(ahead[option.node]) <= bounds).all(axis=1))[0]
            if len(within):
                before = np.stack([np.full(len(within), number), within, np.full(len(within), place)], axis=1)
                further = _Ways(spent=spent[within], worth=ways.worth[within] + worth(node, option), before=before)
                arriving.setdefault(option.node, []).append(further)
    least = sampler.tabled.min_share * bounds
    members = (sampler.member_of(options) for options in _best_first(graph, found, least))
    return next((member for member in members if member is not None), None)


def _joined(parts: list[_Ways]) -> _Ways:
    return _Ways(
        spent=np.concatenate([each.spent for each in parts]),
        worth=np.concatenate([each.worth for each in parts]),
        before=np.concatenate([each.before for each in parts]),
    )


def _kept(ways: _Ways, ahead: np.ndarray, bounds: np.ndarray, most: int) -> _Ways:
    """Returns the best way of those that spend the same; of too many, the best of each bin."""
    ways = ways[_best_of_each(ways, ways.spent)]
    if len(ways.worth) <= most:
        return ways
    least = (ways.spent + ahead).min(axis=0)
    a_side = int(most ** (1 / len(bounds)))
    bins = (ways.spent + ahead - least) * a_side // np.maximum(bounds - least + 1, 1)
    return ways[_best_of_each(ways, bins)]


def _best_of_each(ways: _Ways, keys: np.ndarray) -> np.ndarray:
    """Returns the numbers of the ways that are worth most among those of equal keys."""
    order = np.lexsort((*ways.spent.T, -ways.worth, *keys.T))
    ordered = keys[order]
    first = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
    return order[first]


def _best_first(graph: CostGraph, found: dict[Node, _Ways], least: np.ndarray) -> Iterator[list[Option]]:
    """Yields the decisions of ways to END that spend the least of one metric, those worth most first."""
    ends = found.get(END)
    if ends is None:
        return
    order = np.lexsort((*ends.spent.T, -ends.worth))
    order = order[(ends.spent[order] >= least).any(axis=1)]
    if not len(order):
        return
    # Where measured budgets refuse the first, all the way down, in steps.
    tried = np.unique([*range(_TRIES // 2), *np.linspace(0, len(order) - 1, _TRIES // 2).astype(int)])
    for number in order[tried[tried < len(order)]]:
        options: list[Option] = []
        node, way = END, int(number)
        while node != START:
            before, way, place = map(int, found[node].before[way])
            node = graph.nodes[before]
            options.append(graph.options[node][place])
        yield options[::-1]
