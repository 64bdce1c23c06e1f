"""What a network costs: exact multiply-adds and parameters, measured latency."""

from nas.costing.profiling import Latency, Profile, StageRow, layout, profile
from nas.costing.space_costs import CostGraph, Option, SpaceCosts, misfit
from nas.costing.table import TABLE, cost, source_hash

__all__ = [
    "TABLE",
    "CostGraph",
    "Latency",
    "Option",
    "Profile",
    "SpaceCosts",
    "StageRow",
    "cost",
    "layout",
    "misfit",
    "profile",
    "source_hash",
]
