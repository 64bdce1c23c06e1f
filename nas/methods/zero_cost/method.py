"""The methods that score by zero-cost proxies: one (`nwot`, …) or several (`az-nas`, `zero-cost`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.architecture import Architecture
from nas.jobs.backend import ScorerSource
from nas.methods.protocol.context import Context
from nas.methods.protocol.plan import MethodPlan, Planned, Workload
from nas.methods.protocol.ranking import RankingTask
from nas.methods.protocol.search_method import RankedScorer, SearchMethod
from nas.methods.reference import reference_networks
from nas.methods.zero_cost.aggregated import PARTS
from nas.methods.zero_cost.measuring import measured
from nas.methods.zero_cost.options import ZeroCostOptions
from nas.methods.zero_cost.planning import REFERENCE_SHARE, proxy_seconds, reference_count
from nas.methods.zero_cost.proxies import PROXIES
from nas.methods.zero_cost.proxy_cache import ProxyValues
from nas.methods.zero_cost.scorer import ZeroCostScoring, proxy_scorer


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroCostPlan(MethodPlan):
    """The plan of a search by proxies.

    Attributes:
        reference: Number of reference networks, for aggregated proxies.
    """

    reference: int


class ZeroCostMethod(SearchMethod[ZeroCostOptions]):
    """Scores by functions of a network at initialization and of a few training images; trains nothing."""

    plan_type = ZeroCostPlan
    training_share = REFERENCE_SHARE

    def plan(self, workload: Workload) -> Planned:
        reference, each = reference_count(workload) if self.name in PARTS else 0, proxy_seconds(workload)
        return Planned(own=ZeroCostPlan(reference=reference), setup_seconds=reference * each, trial_seconds=each)

    def scorer(self, context: Context, trained: Any) -> ScorerSource:
        count, seed = context.plan.of(ZeroCostPlan).reference, context.options.seed
        reference = reference_networks(context.sampler, count, seed=seed) if self.name in PARTS else ()
        return ZeroCostScoring(
            name=self.name,
            data=context.data,
            seed=seed,
            reference=reference,
            known=_known(context, reference, [name for name in PARTS.get(self.name, ()) if name in PROXIES.names()]),
            device=context.plan.proxy_device,
        )

    def ranked(self, task: RankingTask) -> RankedScorer:
        settings = task.settings
        values = ProxyValues(task.data, seed=settings.seed, device=settings.device, memory=task.ledger)
        return RankedScorer(make=lambda: proxy_scorer(self.name, values, task.architectures))


def _known(context: Context, networks: Sequence[Architecture], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Measures the reference networks, once for all scorers; returns their proxies by digest and name."""
    known: dict[str, dict[str, float]] = {}
    if not networks:
        return known
    context.progress.start("proxies", len(networks), "networks")
    for network, values in zip(networks, measured(context, networks, names), strict=True):
        known[network.digest] = dict(zip(names, values, strict=True))
        context.progress.advance()
    context.progress.finish()
    return known
