"""What zero-cost proxies cost, for the plans of methods that use them."""

from __future__ import annotations

from nas.methods.protocol.plan import Workload, within

PROXY_IMAGES = 400
"""All zero-cost proxies of one network took as long as training it on so many images, or fewer."""


def proxy_seconds(workload: Workload) -> float:
    """Of all proxies of one network."""
    return PROXY_IMAGES / workload.scoring_rate


def reference_count(workload: Workload) -> int:
    """How many reference networks can be measured in a quarter of the time before the search."""
    return within(round(0.25 * workload.affordable / PROXY_IMAGES), 24, 128)
