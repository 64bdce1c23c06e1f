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
        "random": "nas.searchers.random_search:RandomSearch",
    },
)
"""Factories of searchers (`nas.searchers.searcher.MakesSearcher`) by name; `SEARCHERS.add(name, …)` adds one."""

SEARCHERS_ABOUT = {
    "evolution": (
        "mutations and crossovers of the best: 80 % by score alone, 20 % by the score-cost front; "
        "with --min-share 0, all by that front"
    ),
    "bo": "Bayesian optimization with a Gaussian process fitted to the scores so far",
    "random": "random samples: the baseline for the others",
}
"""Half a line of description per searcher of this package."""

WHERE_FREE, WHERE_NOT = "evolution", "bo"


def default_searcher(*, free_scores: bool) -> str:
    """Returns the default searcher: one for methods whose scores are free, another for all others."""
    return WHERE_FREE if free_scores else WHERE_NOT
