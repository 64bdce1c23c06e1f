"""Aggregation of several proxies into one score, by a network's rank in each among reference networks."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

from nas.architecture import Architecture
from nas.costs import cost
from nas.methods.zero_cost.proxy_cache import ProxyValues

COMPLEXITY = "macs"
# AZ-NAS sums the logarithms of ranks by its four parts, one of which is multiply-adds (Lee and Ham 2024,
# arXiv:2403.19232, eq. 8). "zero-cost" does the same with all proxies, so that none has to be selected.
PARTS = {
    "az-nas": ("expressivity", "progressivity", "trainability", COMPLEXITY),
    "zero-cost": (
        "dss", "expressivity", "grad_norm", "nwot", "progressivity", "snip", "synflow", "trainability", "zen", "zico",
    ),
}  # fmt: skip


class AggregatedScorer:
    """Sum over proxies of the log relative rank of a network among reference networks; at most 0, higher is better.

    Ranks are among fixed networks, so that no score depends on the other networks scored. Because of the logarithm, a
    low rank in one proxy costs more than a high rank in another gains.

    Args:
        name: A key of `PARTS`.
        reference: Networks to rank among; for `nas rank` those of the table, in a search a sample of its feasible set.
    """

    def __init__(self, name: str, values: ProxyValues, reference: Sequence[Architecture]) -> None:
        self._name, self._values = name, values
        found = [self._parts(each) for each in reference]
        self._sorted = {part: sorted(each[part] for each in found) for part in PARTS[name]}

    def score(self, architecture: Architecture) -> float:
        """Returns the sum of log relative ranks."""
        total, found = 0.0, self._parts(architecture)
        for part, values in self._sorted.items():
            value = found[part]
            # Ties get their middle rank.
            below = (bisect.bisect_left(values, value) + bisect.bisect_right(values, value)) / 2
            total += math.log((below + 0.5) / (len(values) + 1))
        return total

    def _parts(self, architecture: Architecture) -> dict[str, float]:
        found = self._values.values(PARTS[self._name], architecture)
        # A network for which a proxy fails counts as its worst; a proxy that fails for all networks has no influence.
        known = {name: -math.inf if math.isnan(value) else value for name, value in found.items()}
        return {**known, COMPLEXITY: float(cost(architecture).macs)}
