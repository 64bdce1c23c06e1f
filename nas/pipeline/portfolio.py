"""Finalists chosen independently of the score: by counting (parameters, channels), and one at random.

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
from nas.sampling.largest_member import largest_member
from nas.trial import Trial, pareto_front

SCORE, RANDOM = "score", "random"
_SAMPLED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A finalist, and what chose it: "score", the name of a count, "random", or several of them, joined by "+"."""

    trial: Trial
    chosen_by: str


def portfolio(sampler: BudgetSampler, finalists: int, *, count: str | None, seed: int) -> dict[str, Architecture]:
    """Returns the finalists that are chosen independently of the score, by what chose them; at most `finalists` - 1.

    The first finalist is the best by score; then the largest feasible network by each of `BASELINES`; then a feasible
    network sampled by layout.

    Args:
        count: The count that the search scores by, if any. The largest network by it, which the score then finds, is
            in the portfolio besides, as "score".
    """
    found: dict[str, Architecture] = {}
    if count in BASELINES:
        found[SCORE] = _largest(sampler, count)
    places = len(found) + finalists - 1
    wanted: list[tuple[str, Callable[[], Architecture]]] = [
        (name, lambda name=name: _largest(sampler, name)) for name in BASELINES if name != count
    ]
    wanted.append((RANDOM, lambda: sampler.sample(random.Random(f"finalist-{seed}")).architecture))
    for name, choose in wanted:
        if len(found) >= places:
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
        At most `count`, by descending score. One that is the best by score and of the portfolio too has both reasons.
    """
    by_score = sorted((t for t in trials if t.complete), key=lambda t: (-(t.score or 0.0), t.number))
    front = pareto_front(trials, objectives=front_over)[::-1] if front_over else []
    places = {trial.architecture: trial for trial in trials}
    given = [(name, places[each]) for name, each in (fixed or {}).items() if name != SCORE and each in places]
    picks: dict[int, Pick] = {}
    for first in by_score[:1]:
        also = [name for name, trial in given if trial is first]
        picks[first.number] = Pick(trial=first, chosen_by="+".join((SCORE, *also)))
    for name, trial in (*given, *((SCORE, t) for t in (*front, *by_score))):
        if len(picks) >= count:
            break
        picks.setdefault(trial.number, Pick(trial=trial, chosen_by=name))
    return sorted(picks.values(), key=lambda pick: (-_score(pick.trial), pick.trial.number))


def _score(trial: Trial) -> float:
    return float("-inf") if trial.score is None else trial.score


@lru_cache(maxsize=8)  # planning with a measured rate calls this twice with the same arguments
def _largest(sampler: BudgetSampler, name: str) -> Architecture:
    """Returns the feasible network with the highest count; where measured budgets refuse those, of a few sampled."""
    found = largest_member(sampler, lambda node, option: BASELINES[name](sampler.costs, node, option))
    if found is not None:
        return found.architecture
    rng = random.Random(0)
    return max((sampler.sample(rng).architecture for _ in range(_SAMPLED)), key=COUNTS[name])
