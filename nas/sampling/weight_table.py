"""Tables of how many members there are for every rest of a budget, and samples from them.

Costs are exact sums along paths of a graph. At every node the least that is still to be spent is known, so a decision
spends its *excess*: by how much it makes the cheapest way to END dearer. With the slack of a budget over the cheapest
member cut into bins, the number (or fair measure) of ways to finish with what is left is a small array per node; taking
each decision in proportion to it samples members in proportion to their weight over the *binned* budget, which contains
the exact one. Rejecting what falls outside the exact one leaves the rest in proportion.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nas.costs import CostGraph, Option
from nas.spaces import END

MOST_CELLS = {1: 1 << 23, 2: 1 << 22}
LEAST_BINS, MOST_BINS, BINS_PER_DECISION = 512, 8192, 32
MOST_BINS_OF_TWO = 96
_CACHED = 1_000_000


class _Group(NamedTuple):
    """Options of one node that lead to the same node, and cost and weigh the same in bins."""

    target: int
    bins: tuple[int, ...]
    weight: float
    options: list[Option]


class _Fork(NamedTuple):
    """The groups of one node, and the same as arrays."""

    groups: list[_Group]
    targets: np.ndarray
    bins: np.ndarray
    weights: np.ndarray


Window = tuple[tuple[int, ...], tuple[int, ...]]


class WeightTable:
    """Weights of the members of one layout by binned excess; all members together weigh 1.

    Args:
        bounds: Of the metrics, none below the least of the layout.
        fair: Whether members weigh as the fair measure has it, or all alike.

    Attributes:
        bins: Into how many the slack of each metric is cut.
        lost: Per metric, by how many bins at most the binned excess of a member falls short of its exact one.
    """

    def __init__(self, graph: CostGraph, metrics: Sequence[str], bounds: Sequence[int], *, fair: bool) -> None:
        self.metrics = tuple(metrics)
        self._numbers = {node: i for i, node in enumerate(graph.nodes)}
        self._end = self._numbers[END]
        ahead = [graph.remaining(metric) for metric in metrics]
        self.slack = tuple(bound - rest[graph.nodes[0]] for bound, rest in zip(bounds, ahead, strict=True))
        self.bins = self._fitting_bins(graph)
        self.lost = self._fork_all(graph, ahead, fair)
        self._accumulate()
        self._weighed: dict[Any, list[float]] = {}
        self._held = 0

    @property
    def top(self) -> tuple[int, ...]:
        """Returns the highest bin of each metric."""
        return (self.bins - 1,) * len(self.metrics)

    def weight(self, window: Window) -> float:
        """Returns the weight of the members in a window: no metric above its high bin, one not below its low."""
        none = (0,) * len(self.metrics)
        return float(self._ways(np.array([0]), np.array([none]), none, window)[0])

    def sample(self, rng: random.Random, window: Window) -> list[Option] | None:
        """Samples one member of the window by weight; returns its decisions, or None if the window holds none."""
        spent, number = (0,) * len(self.metrics), 0
        picked: list[Option] = []
        while number != self._end:
            groups = self._forks[number].groups
            if len(groups) == 1:
                group = groups[0]
            else:
                key = (number, spent, window)
                sums = self._weighed.get(key) or self._weigh(key)
                if not sums or sums[-1] <= 0:
                    return None
                group = groups[min(bisect_right(sums, rng.random() * sums[-1]), len(groups) - 1)]
            members = group.options
            picked.append(members[int(rng.random() * len(members))] if len(members) > 1 else members[0])
            number = group.target
            spent = tuple([s + b for s, b in zip(spent, group.bins, strict=True)])
        return picked

    # -- inside -------------------------------------------------------------------------------------------------

    def _fitting_bins(self, graph: CostGraph) -> int:
        count, dims = len(graph.nodes), len(self.metrics)
        room = int((MOST_CELLS[dims] / count) ** (1 / dims))
        if dims > 1:
            return max(16, min(MOST_BINS_OF_TWO, room))
        longest = {END: 0}
        for node in reversed(graph.nodes[:-1]):
            longest[node] = 1 + max(longest[option.node] for option in graph.options[node])
        wanted = min(MOST_BINS, max(LEAST_BINS, BINS_PER_DECISION * longest[graph.nodes[0]]))
        return max(64, min(wanted, room))

    def _fork_all(self, graph: CostGraph, ahead: list[dict[Any, int]], fair: bool) -> tuple[float, ...]:
        """Groups every node's options; returns the most that rounding down can lose."""
        self._forks: list[_Fork] = []
        lost = np.zeros((len(graph.nodes), len(self.metrics)))
        ways = graph.shares(fair=fair)
        units = [(metric, rest, slack, slack + 1) for metric, rest, slack in
                 zip(self.metrics, ahead, self.slack, strict=True)]  # fmt: skip
        for i in range(len(graph.nodes) - 2, -1, -1):
            node = graph.nodes[i]
            grouped: dict[Any, list[Option]] = {}
            for option in graph.options[node]:
                bins, target = [], self._numbers[option.node]
                for d, (metric, rest, slack, unit) in enumerate(units):
                    excess = option.of(metric) + rest[option.node] - rest[node]
                    if excess > slack:
                        break
                    number, left = divmod(excess * self.bins, unit)
                    bins.append(number)
                    loss = left / unit + lost[target, d]
                    if loss > lost[i, d]:
                        lost[i, d] = loss
                else:
                    # As a probability, so that spaces of any size are counted in floats.
                    weight = (option.weight if fair else 1) * ways[option.node] / ways[node]
                    grouped.setdefault((target, tuple(bins), weight), []).append(option)
            groups = [_Group(t, bins, weight, options) for (t, bins, weight), options in grouped.items()]
            self._forks.append(
                _Fork(
                    groups,
                    np.array([g.target for g in groups], dtype=np.int64),
                    np.array([g.bins for g in groups], dtype=np.int64).reshape(len(groups), len(self.metrics)),
                    np.array([g.weight * len(g.options) for g in groups]),
                )
            )
        self._forks.reverse()
        return tuple(lost[0].tolist())

    def _accumulate(self) -> None:
        """Per node, the weight of what lies beyond it by the excess still spent; summed up from below and above."""
        dims, bins = len(self.metrics), self.bins
        exact = np.zeros((len(self._numbers), *(bins,) * dims))
        exact[(self._end, *(0,) * dims)] = 1
        for i in range(len(self._forks) - 1, -1, -1):
            here = exact[i]
            for group, weight in zip(self._forks[i].groups, self._forks[i].weights, strict=True):
                to = tuple(slice(b, None) for b in group.bins)
                of = tuple(slice(0, bins - b) for b in group.bins)
                here[to] += weight * exact[group.target][of]
        self._below = _summed(exact, [False] * dims)
        # The difference of two sums from below says nothing of a thin upper end, that of two from above does.
        self._above = [_summed(exact, [axis == d for axis in range(dims)]) for d in range(dims)]

    def _ways(self, targets: np.ndarray, bins: np.ndarray, spent: tuple[int, ...], window: Window) -> np.ndarray:
        """The weight that is left in a window after `spent`, beyond each target."""
        high = [np.clip(window[1][d] + 1 - spent[d] - bins[:, d], 0, self.bins) for d in range(len(spent))]
        found = self._below[(targets, *high)]
        if any(s >= low for s, low in zip(spent, window[0], strict=True)):
            return found
        low = [np.clip(window[0][d] - spent[d] - bins[:, d], 0, self.bins) for d in range(len(spent))]
        from_below = found - self._below[(targets, *low)]
        first = self._above[0]
        if len(spent) == 1:
            whole, rest = first[targets, low[0]], first[targets, high[0]]
        else:
            second = self._above[1]
            whole = first[targets, low[0], high[1]] + second[targets, low[0], low[1]]
            rest = first[targets, high[0], high[1]] + second[targets, low[0], high[1]]
        return np.maximum(np.where(whole < found, whole - rest, from_below), 0)

    def _weigh(self, key: Any) -> list[float]:
        """The weights of a node's groups after what is spent, added up."""
        number, spent, window = key
        fork = self._forks[number]
        if not fork.groups:
            return []
        sums = (self._ways(fork.targets, fork.bins, spent, window) * fork.weights).cumsum().tolist()
        self._held += len(sums)
        if self._held > _CACHED:
            self._weighed.clear()
            self._held = len(sums)
        self._weighed[key] = sums
        return sums


def _summed(exact: np.ndarray, from_above: Sequence[bool]) -> np.ndarray:
    """Along each axis but the first, entry k is the sum of those before k, or of those from k on."""
    for axis, above in enumerate(from_above, start=1):
        sums = np.flip(np.flip(exact, axis).cumsum(axis), axis) if above else exact.cumsum(axis)
        exact = np.pad(sums, [(0, 0)] * axis + [(0, 1) if above else (1, 0)] + [(0, 0)] * (exact.ndim - axis - 1))
    return exact
