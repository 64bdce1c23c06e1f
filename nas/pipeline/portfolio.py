"""Finalists chosen independently of the score: by counting (parameters, multiply-adds), and one at random.

Only training can verify a score. If the score chose all finalists, the winner might be worse than the largest network
that fits, and the ranking check would cover only the score's top networks. So some finalists are chosen by counting and
at random, and training decides between these and the score's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from nas.architecture import Architecture
from nas.methods.counted import BASELINES, COUNTS
from nas.sampling import BudgetSampler
from nas.searchers.searcher import make_searcher
from nas.trial import Trial, pareto_front, trial_seed

SCORE, RANDOM = "score", "random"
_LEAST_COUNTED, _BATCH = 256, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A finalist, and what chose it: "score", the name of a count, or "random"."""

    trial: Trial
    chosen_by: str


def portfolio(
    sampler: BudgetSampler, finalists: int, *, count: str | None, trials: int, seed: int
) -> dict[str, Architecture]:
    """Returns the finalists that are chosen independently of the score, by what chose them; at most `finalists` - 1.

    The first finalist is the best by score; then the largest feasible network by each of `BASELINES`, found by
    evolution on that count with at least as many trials as the search; then a feasible network sampled by layout.

    Args:
        count: The count that the search scores by, if any; the score itself finds the largest network by it.
        trials: Number of trials of the search.
    """
    wanted: list[tuple[str, Callable[[], Architecture]]] = [
        (name, lambda name=name: _largest(sampler, name, max(_LEAST_COUNTED, trials), seed))
        for name in BASELINES
        if name != count
    ]
    wanted.append((RANDOM, lambda: sampler.sample(random.Random(f"finalist-{seed}")).architecture))
    found: dict[str, Architecture] = {}
    for name, choose in wanted:
        if len(found) >= finalists - 1:
            break
        architecture = choose()
        if architecture not in found.values():
            found[name] = architecture
    return found


def choose_finalists(
    trials: Sequence[Trial],
    count: int,
    *,
    fixed: Mapping[str, Architecture] | None = None,
    front_over: Sequence[str] = (),
) -> list[Pick]:
    """Returns the finalists: the best trial by score, the portfolio, then further trials by score.

    Args:
        fixed: As `portfolio` returned it; what is among the trials takes part, whether or not it could be scored.
        front_over: The objectives, where the trials cost very different amounts, so that the front goes before others.

    Returns:
        At most `count`, by descending score.
    """
    by_score = sorted((t for t in trials if t.complete), key=lambda t: (-(t.score or 0.0), t.number))
    front = pareto_front(trials, objectives=front_over)[::-1] if front_over else []
    places = {trial.architecture: trial for trial in trials}
    given = [(name, places[each]) for name, each in (fixed or {}).items() if each in places]
    picks: dict[int, Pick] = {}
    for name, trial in (*((SCORE, t) for t in by_score[:1]), *given, *((SCORE, t) for t in (*front, *by_score))):
        if len(picks) >= count:
            break
        picks.setdefault(trial.number, Pick(trial=trial, chosen_by=name))
    return sorted(picks.values(), key=lambda pick: (-_score(pick.trial), pick.trial.number))


def _score(trial: Trial) -> float:
    return float("-inf") if trial.score is None else trial.score


@lru_cache(maxsize=8)  # planning with a measured rate calls this twice with the same arguments
def _largest(sampler: BudgetSampler, name: str, trials: int, seed: int) -> Architecture:
    """Returns the architecture with the highest count that evolution finds."""
    searcher, counted = make_searcher("evolution", sampler, seed=seed), list[Trial]()
    for batch in range(-(-trials // _BATCH)):
        fresh = [
            Trial(
                number=len(counted) + place,
                architecture=proposal.architecture,
                cost=proposal.cost,
                status="complete",
                score=float(COUNTS[name](proposal.architecture)),
                seed=trial_seed(seed, len(counted) + place),
                seconds=0.0,
                layout=proposal.layout,
                origin=proposal.origin,
                batch=batch,
            )
            for place, proposal in enumerate(searcher.ask(_BATCH, batch))
        ]
        if not fresh:
            break
        counted += fresh
        searcher.tell(fresh)
    return max(counted, key=lambda trial: (trial.score or 0.0, -trial.number)).architecture
