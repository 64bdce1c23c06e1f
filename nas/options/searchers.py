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
        "nsga2": "nas.searchers.optuna_searchers:nsga2",
        "tpe": "nas.searchers.optuna_searchers:tpe",
        "bo": "nas.searchers.bayesian:BayesianOptimization",
        "random": "nas.searchers.random_search:RandomSearch",
    },
)
"""What makes a searcher, a `nas.searchers.searcher.MakesSearcher`, by name; `SEARCHERS.add(name, …)` adds one."""

SEARCHERS_ABOUT = {
    "evolution": "mutations and crossovers of the trials with the best scores; of the best in score and cost with --min-share 0",
    "nsga2": "Optuna's NSGA-II, on score and cost",
    "tpe": "Optuna's tree-structured Parzen estimator",
    "bo": "Bayesian optimization: what a Gaussian process on the scores so far holds most promising",
    "random": "samples at random: the baseline of the others",
}
"""What each searcher of this package does, in half a line."""
