"""The finalists that no score chooses: what counting would have found, and one network at random.

Only training says what a score is worth. A run whose finalists were all chosen by the score cannot tell: its winner
may be worse than the largest network that fits, and its ranking check looks at the top of one order alone. So some
finalists are chosen by counting and by chance, and training decides between them and those of the score.
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
    """Architectures that are finalists whatever their scores, by what chose them, at most `finalists` - 1.

    The best by score comes first among the finalists; then the largest feasible network by each of `BASELINES`, found
    as a search by that count finds it, with as many trials or more; then a feasible network sampled by layout.

    Args:
        count: What the search scores by, if that is a count: the score finds its best itself.
        trials: Of the search.
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
    """The best trial by score, the portfolio, then more by score.

    Args:
        fixed: As `portfolio` returned it; what is among the trials takes part, whether or not it could be scored.
        front_over: The objectives, where the trials cost very different amounts, so that the front goes before others.

    Returns:
        At most `count`, by falling score.
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


@lru_cache(maxsize=8)  # a plan whose rate is measured asks for the same once more
def _largest(sampler: BudgetSampler, name: str, trials: int, seed: int) -> Architecture:
    """The architecture of the highest count that evolution finds."""
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
