"""Searching: draws inside budgets, searchers, the loop from supernet to winners, and what their ranking is worth."""

from nas.searching.handover import Winner
from nas.searching.loop import SearchResult, resume, search
from nas.searching.plan import Plan, make_plan
from nas.searching.preview import DryRun, dry_run
from nas.searching.sampling import BudgetSampler, Draw, sample
from nas.searching.single import train

__all__ = [
    "BudgetSampler",
    "Draw",
    "DryRun",
    "Plan",
    "SearchResult",
    "Winner",
    "dry_run",
    "make_plan",
    "resume",
    "sample",
    "search",
    "train",
]
