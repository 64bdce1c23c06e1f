"""What zero-cost proxies cost, for the plans of methods that use them."""

from __future__ import annotations

from nas.methods.protocol.plan import Workload, within

REFERENCE_SHARE, FEWEST_REFERENCES = 0.1, 24
"""Of the time of a search, what measuring reference networks may take; the fewest that are measured in any case."""
PROXY_IMAGES = 400
"""All zero-cost proxies of one network took as long as training it on so many images, or fewer."""


def proxy_seconds(workload: Workload) -> float:
    """Of all proxies of one network."""
    return PROXY_IMAGES / workload.scoring_rate


def reference_count(workload: Workload, share: float = REFERENCE_SHARE, fewest: int = FEWEST_REFERENCES) -> int:
    """How many reference networks can be measured in a share of the time."""
    return within(round(workload.seconds * share * workload.rate / PROXY_IMAGES), fewest, 128)
