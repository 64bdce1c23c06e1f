"""Scores that need no training: functions of a network at its initial weights and a few images."""

from nas.scoring.zero_cost.aggregated import PARTS, AggregatedScorer
from nas.scoring.zero_cost.proxies import PROXIES, Probe
from nas.scoring.zero_cost.scorer import ZeroCostScorer
from nas.scoring.zero_cost.values import KnownProxy, Memory, ProxyValues

__all__ = [
    "PARTS",
    "PROXIES",
    "AggregatedScorer",
    "KnownProxy",
    "Memory",
    "Probe",
    "ProxyValues",
    "ZeroCostScorer",
]
