"""The searchers by name; the module of one is imported when it is first used."""

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
"""What makes a searcher, a `nas.searchers.searcher.MakesSearcher`, by name; `SEARCHERS.add(name, …)` adds one."""

SEARCHERS_ABOUT = {
    "evolution": (
        "mutations and crossovers of the best: 80 % by score alone, 20 % by the front of score and cost; "
        "with --min-share 0 all by that front"
    ),
    "bo": "Bayesian optimization: what a Gaussian process on the scores so far holds most promising",
    "random": "samples at random: the baseline of the others",
}
"""What each searcher of this package does, in half a line."""

WHERE_FREE, WHERE_NOT = "evolution", "bo"


def default_searcher(*, free_scores: bool) -> str:
    """Returns the searcher of a method whose scores take no longer than proposals, or of any other."""
    return WHERE_FREE if free_scores else WHERE_NOT
