"""The cost of zero-cost proxies, for the plans of methods that use them."""

from __future__ import annotations

from nas.methods.protocol.plan import Workload, within

REFERENCE_SHARE, FEWEST_REFERENCES = 0.1, 24
"""Share of a search's time for measuring reference networks, and the fewest that are measured in any case."""
PROXY_IMAGES = 400
"""Measured upper bound of the time of all proxies of a network, in images of its training."""


def proxy_seconds(workload: Workload) -> float:
    """Returns the seconds for all proxies of one network."""
    return PROXY_IMAGES / workload.scoring_rate


def reference_count(workload: Workload, share: float = REFERENCE_SHARE, fewest: int = FEWEST_REFERENCES) -> int:
    """Returns how many reference networks can be measured in a share of the time."""
    return within(round(workload.seconds * share * workload.rate / PROXY_IMAGES), fewest, 128)
