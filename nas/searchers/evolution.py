"""Evolution of a population under budgets, mostly on score, or on score and cost together.

The first trials are spread evenly over the layouts. Parents then come from an archive of the best trials (an elitist
selection as in NSGA-II: Deb et al. 2002) by binary tournaments. A child is a mutation of a parent, or a crossover of
two, half of which mutate as well. A child outside the budget's feasible set is repaired: further mutations that reduce
the violation are kept, so that one stage can become wider as another becomes narrower. Rejection sampling would rarely
find such a child in a narrow feasible set.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nas.architecture import Architecture
from nas.sampling.budget_sampler import BudgetSampler, Member
from nas.searchers.searcher import START, History, Observed, Proposal, Round
from nas.spaces import Genotype
from nas.spaces.variation import crossed, mutated
from nas.trial import Trial, non_dominated

LEAST_PARENTS, MOST_PARENTS, PARENT_SHARE = 8, 64, 0.15
MOST_KEPT, KEPT = 768, 512
"""The archive that parents come from holds all trials, up to `MOST_KEPT`; then the best `KEPT` stay, half of them by
score and half by front and crowding, so that a proposal takes as long after a million trials as after a thousand."""
FRESH_SHARE = 0.1
"""Share of random proposals after the first trials, so that every layout keeps a chance."""
CROSSOVER_SHARE = 0.7
TRADE_OFF_SHARE = 0.2
"""Share of parents and of tournaments that consider cost too, if there is a least share of the budget."""
ATTEMPTS = 20
REPAIRS = 12


@dataclass(frozen=True, slots=True)
class Fitness:
    """The fitness of a trial: its front (0 is best), its crowding distance there, its score."""

    rank: int
    crowding: float
    score: float

    @property
    def trade_off(self) -> tuple[float, ...]:
        """Sort key by front, then by descending crowding distance; smaller is better."""
        return self.rank, -self.crowding, -self.score


class Evolution:
    """Evolution under budgets; the default searcher where scores are free.

    The objective depends on the least share of the budget (the sampler's `min_share`). With one, which is the default,
    all candidates cost about the same: four fifths of the parents are the trials with the best scores, and four fifths
    of the tournaments compare scores only; the rest use the Pareto front of score and cost, so the front of such a
    search is a by-product. Without one, all use that front, and crowding within a front; the best score is then found
    much more slowly.
    """

    def __init__(
        self,
        sampler: BudgetSampler,
        *,
        seed: int,
        objectives: Sequence[str] = ("macs",),
        presets: Sequence[Architecture] = (),
    ) -> None:
        self._sampler, self._objectives = sampler, tuple(objectives)
        self._trade_off_share = TRADE_OFF_SHARE if sampler.feasible.min_share > 0 else 1.0
        self._history = History(sampler, seed=seed, presets=presets)

        self._forget()

    def tell(self, trials: Iterable[Trial]) -> None:
        self._history.tell(trials)

    def ask(self, n: int, batch: int) -> list[Proposal]:
        opened = self._history.round(n, batch)
        self._observe(opened.earlier)
        parents = self._parents() if self._scored >= START else []
        while not opened.full:
            if not parents:
                done = opened.earlier + len(opened.pending) + len(opened.proposals)
                offered = opened.offer_random(self._layouts_from(done))
            elif opened.rng.random() < FRESH_SHARE:
                offered = opened.offer_random()
            else:
                offered = self._offer_child(opened, parents) or opened.offer_random()
            if not offered:
                break
        return opened.proposals

    def _layouts_from(self, place: int) -> list[str]:
        """Returns the layouts, rotated to start with the next in turn."""
        layouts = self._sampler.layouts
        return [layouts[(place + i) % len(layouts)] for i in range(len(layouts))]

    def _forget(self) -> None:
        self._taken, self._scored, self._archive = 0, 0, list[Observed]()

    def _observe(self, earlier: int) -> None:
        """Takes in the first `earlier` trials, those of earlier batches, batch by batch as when they were observed."""
        if earlier < self._taken:
            self._forget()
        for batch in self._history.observed(self._taken, earlier):
            known = [one for one in batch if None not in self._costs(one.trial)]
            self._scored += len(known)
            self._archive += known
            if len(self._archive) > MOST_KEPT:
                self._archive = self._best(KEPT, 0.5)
        self._taken = earlier

    def _parents(self) -> list[tuple[Observed, Fitness]]:
        """Returns the best of the archive, with their fitness in it."""
        count = min(MOST_PARENTS, max(LEAST_PARENTS, int(PARENT_SHARE * self._scored)))
        return self._ranked(count, self._trade_off_share)

    def _best(self, count: int, share: float) -> list[Observed]:
        """Returns the best of the archive, in the order in which they were observed."""
        return sorted((one for one, _ in self._ranked(count, share)), key=lambda one: one.trial.number)

    def _ranked(self, count: int, share: float) -> list[tuple[Observed, Fitness]]:
        """Returns the best of the archive with their fitness: a share by front and crowding, the others by score."""
        costs = [tuple(float(cost or 0) for cost in self._costs(one.trial)) for one in self._archive]
        scores = [one.score for one in self._archive]
        if len(self._objectives) == 1:
            found = fitnesses(scores, [cost for (cost,) in costs])
        else:
            found = fitnesses_of_several(scores, costs, enough=count)
        pairs = list(zip(self._archive, found, strict=True))
        kept = sorted(pairs, key=lambda pair: pair[1].trade_off)[: round(count * share)]
        numbers = {id(one) for one, _ in kept}
        by_score = sorted(pairs, key=lambda pair: -pair[1].score)
        return kept + [pair for pair in by_score if id(pair[0]) not in numbers][: count - len(kept)]

    def _costs(self, trial: Trial) -> list[int | float | None]:
        return [trial.cost.value(objective) for objective in self._objectives]

    def _select(self, parents: list[tuple[Observed, Fitness]], rng: random.Random) -> Genotype:
        """Selects a parent by binary tournament."""
        pair = rng.choice(parents), rng.choice(parents)
        if rng.random() < self._trade_off_share:
            return min(pair, key=lambda one: one[1].trade_off)[0].genotype
        return max(pair, key=lambda one: one[1].score)[0].genotype

    def _offer_child(self, opened: Round, parents: list[tuple[Observed, Fitness]]) -> bool:
        rng, space = opened.rng, self._sampler.space
        for _ in range(ATTEMPTS):
            child = self._select(parents, rng)
            origin = "crossover" if rng.random() < CROSSOVER_SHARE else "mutation"
            if origin == "crossover":
                child = crossed(space, child, self._select(parents, rng), rng)
            if origin == "mutation" or rng.random() < 0.5:
                child = mutated(space, child, rng)
            if opened.offer(self._repaired(child, rng), origin):
                return True
        return False

    def _repaired(self, child: Genotype, rng: random.Random) -> Member | None:
        """Returns the child, mutated until it is feasible; None if that takes too long."""
        distance = self._violation(child)
        for _ in range(REPAIRS):
            if distance == 0:
                break
            changed = mutated(self._sampler.space, child, rng)
            further = self._violation(changed)
            if further <= distance:
                child, distance = changed, further
        return self._history.locate_genotype(child)

    def _violation(self, child: Genotype) -> float:
        return self._sampler.feasible.violation(self._sampler.cost(child))


def fitnesses(scores: Sequence[float], costs: Sequence[float]) -> list[Fitness]:
    """Returns the fitness of every point: score is to be high and cost low.

    One point dominates another if it is as good in both and better in one. Points equal in both share a front.
    """
    order = sorted(range(len(scores)), key=lambda i: (costs[i], -scores[i]))
    # In order of rising cost, a point is dominated by a front whose best score so far is as high; these best scores
    # decrease from front to front, so the point's front is found by bisection.
    fronts: list[list[int]] = []
    best: list[float] = []  # negated, so that it is ascending
    for i in order:
        place = bisect_right(best, -scores[i])
        twin = fronts[place - 1][-1] if place else None
        if twin is not None and (scores[twin], costs[twin]) == (scores[i], costs[i]):
            place -= 1
        if place == len(fronts):
            fronts.append([])
            best.append(0.0)
        fronts[place].append(i)
        best[place] = -scores[i]
    found: dict[int, Fitness] = {}
    for rank, front in enumerate(fronts):
        crowding = _crowding([(scores[i], costs[i]) for i in front])
        found |= {i: Fitness(rank, crowding[k], scores[i]) for k, i in enumerate(front)}
    return [found[i] for i in range(len(scores))]


def fitnesses_of_several(scores: Sequence[float], costs: Sequence[tuple[float, ...]], *, enough: int) -> list[Fitness]:
    """Returns the fitness of every point where several costs are to be low.

    Args:
        enough: Once so many points have a front of their own, the rest share the last.
    """
    points = [(*cost, -score) for cost, score in zip(costs, scores, strict=True)]
    left = sorted(range(len(points)), key=lambda i: points[i])
    found: dict[int, Fitness] = {}
    rank = 0
    while left:
        kept = non_dominated([points[i] for i in left]) if len(found) < enough else range(len(left))
        front = [left[place] for place in kept]
        crowding = np.zeros(len(front))
        for axis in range(len(points[0])):
            values = np.array([points[i][axis] for i in front])
            order = values.argsort(kind="stable")
            extent = values[order[-1]] - values[order[0]] or 1.0
            gaps = np.full(len(front), math.inf)
            gaps[1:-1] = (values[order[2:]] - values[order[:-2]]) / extent
            crowding[order] += gaps
        found |= {i: Fitness(rank, float(crowding[k]), scores[i]) for k, i in enumerate(front)}
        taken = set(front)
        left = [i for i in left if i not in taken]
        rank += 1
    return [found[i] for i in range(len(points))]


def _crowding(front: list[tuple[float, float]]) -> list[float]:
    """Returns, per point of a front in order of cost, the gaps to its neighbors as shares of the front's extent."""
    extent = [abs(front[-1][axis] - front[0][axis]) or 1.0 for axis in (0, 1)]
    distances = []
    for k in range(len(front)):
        if k in (0, len(front) - 1):
            distances.append(math.inf)
        else:
            distances.append(sum(abs(front[k + 1][a] - front[k - 1][a]) / extent[a] for a in (0, 1)))
    return distances
