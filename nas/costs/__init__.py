"""Costs of networks: exact multiply-adds and parameters."""

from nas.costs.count_table import TABLE, cost, source_hash
from nas.costs.image_sizes import misfit, sized_architecture, sized_space
from nas.costs.memory import Memory, memory_use, peak_memory
from nas.costs.profiling import Profile, StageRow, layout, profile
from nas.costs.space_costs import CostGraph, Option, SpaceCosts

__all__ = [
    "TABLE",
    "CostGraph",
    "Memory",
    "Option",
    "Profile",
    "SpaceCosts",
    "StageRow",
    "cost",
    "layout",
    "memory_use",
    "misfit",
    "peak_memory",
    "profile",
    "sized_architecture",
    "sized_space",
    "source_hash",
]
