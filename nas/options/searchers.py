"""The searchers by name; a searcher's module is imported when it is first used."""

from __future__ import annotations

from typing import Any

from nas.errors import OptionError
from nas.registry import PlugIns

SEARCHERS: PlugIns[Any] = PlugIns(
    "searcher",
    OptionError,
    {
        "evolution": "nas.searchers.evolution:Evolution",
        "bo": "nas.searchers.bayesian:BayesianOptimization",
        "slimming": "nas.searchers.slimming:Slimming",
        "random": "nas.searchers.random_search:RandomSearch",
    },
)
"""Factories of searchers (`nas.searchers.searcher.MakesSearcher`) by name; `SEARCHERS.add(name, …)` adds one."""

SEARCHERS_ABOUT = {
    "evolution": (
        "the score: 80 % of parents and tournaments go by it alone, 20 % by the front of score and cost; "
        "with --min-share 0 all go by that front"
    ),
    "bo": (
        "the score, by the upper confidence bound of a Gaussian process on the scores so far; with --min-share 0 "
        "also the front of score and cost: half of the proposals are the best below a random cost"
    ),
    "slimming": (
        "the score lost per cost saved: from the largest feasible network of each layout, greedily, one layer, width "
        "or choice smaller at a time, as EfficientFormerV2's search; with --min-share 0 down to the smallest"
    ),
    "random": "nothing: it samples feasible architectures by layout, the baseline of the others",
}
"""What each searcher of this package optimizes, and how."""

WHERE_FREE, WHERE_NOT = "evolution", "bo"


def default_searcher(*, free_scores: bool) -> str:
    """Returns the default searcher: one for methods whose scores are free, another for all others."""
    return WHERE_FREE if free_scores else WHERE_NOT
