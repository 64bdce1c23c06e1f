"""Scores that need no training: functions of a network at its initial weights and a few images."""

from nas.scoring.zero_cost.aggregated import PARTS, AggregatedScorer
from nas.scoring.zero_cost.probing import Probe, Probed
from nas.scoring.zero_cost.proxies import PROXIES
from nas.scoring.zero_cost.values import PROBE_IMAGES, Memory, ProxyValues, ZeroCostScorer

__all__ = [
    "PARTS",
    "PROBE_IMAGES",
    "PROXIES",
    "AggregatedScorer",
    "Memory",
    "Probe",
    "Probed",
    "ProxyValues",
    "ZeroCostScorer",
]
