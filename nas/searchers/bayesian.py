"""Bayesian optimization: a Gaussian process predicts scores, and the most promising candidates are proposed.

The process is fitted only to the trials of earlier batches, and the candidates depend only on these, the search's seed
and the batch number, so a resumed search needs no saved state.
"""

from __future__ import annotations

import random
from bisect import insort
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np

from nas.architecture import Architecture
from nas.errors import BudgetError
from nas.sampling.budget_sampler import BudgetSampler, Member
from nas.searchers.encoding import Encoding
from nas.searchers.searcher import START, History, Observed, Proposal, Round
from nas.searchers.surrogate import Posterior, Surrogate
from nas.spaces import Genotype
from nas.spaces.variation import mutated
from nas.trial import Trial

KAPPA = 2.0
"""Weight of the predicted standard deviation in the upper confidence bound."""
SAMPLED = 1_000
"""Number of random members among the candidates of a batch."""
PARENTS, CHILDREN, ROUNDS = 8, 25, 8
"""Local search: candidates mutated per round, mutations of each, and rounds."""
MUTATIONS = (1, 1, 2, 3)
"""Numbers of decisions that one mutation changes, equally likely."""
MOST_OBSERVED = 400
"""The most trials that the process is fitted to, to bound the cost of a batch: the best half, and the latest others."""
OUTLIERS = 4.0
"""Scores are outliers if they are this many times farther below the median than the best is above it."""
GROWTH = 1.25
"""Growth of the number of trials after which the hyperparameters are fitted again."""
TRADE_OFF_SHARE = 0.5
"""Share of proposals, and of the candidates that are mutated, that are chosen below a random cost if there is no least
share of the budget."""


class BayesianOptimization:
    """Bayesian optimization of the score, by an upper confidence bound; the default where a score takes time.

    The first trials are random. Then a Gaussian process (`Surrogate`) is fitted to the scores so far, and the
    candidate with the highest upper confidence bound is proposed (GP-UCB: Srinivas et al. 2010, arXiv:0912.3995).
    Each proposal without a score, of this batch or pending, is assumed to score as predicted, so that the variance near
    it shrinks and the next is chosen elsewhere (GP-BUCB: Desautels et al. 2014). Candidates are random members, and the
    results of a local search by mutations from the best trials. In a search of thousands of trials, the process is
    fitted to 400 of them.

    With a least share of the budget (the sampler's), only the score counts. Without, half of the proposals are the
    best below a cost sampled uniformly between those of the candidates, so that the score-cost front is covered.
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
        self._trade_off_share = 0.0 if sampler.feasible.min_share > 0 else TRADE_OFF_SHARE
        self._history = History(sampler, seed=seed, presets=presets)
        self._encoding = Encoding(sampler.space)
        self._fitted: tuple[int, Surrogate] | None = None
        self._forget()

    def tell(self, trials: Iterable[Trial]) -> None:
        self._history.tell(trials)

    def ask(self, n: int, batch: int) -> list[Proposal]:
        opened = self._history.round(n, batch)
        self._observe(opened.earlier)
        if self._known.count >= START and not opened.full:
            self._propose(opened)
        return opened.fill()

    def _forget(self) -> None:
        self._taken, self._known = 0, MostInformative()
        # What the hyperparameters are fitted to: the trials at the last number at which they are.
        self._fit_at, self._fit_to = START, list[Observed]()

    def _observe(self, earlier: int) -> None:
        """Takes in the first `earlier` trials, those of earlier batches."""
        if earlier < self._taken:
            self._forget()
        for batch in self._history.observed(self._taken, earlier):
            for one in batch:
                self._known.add(one)
                if self._known.count == self._fit_at:
                    self._fit_at, self._fit_to = int(self._fit_at * GROWTH), self._known.chosen()
        self._taken = earlier

    def _standardized(self, known: Sequence[Observed]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the points (N, F) and standardized scores (N,) of trials."""
        scores = without_outliers(np.array([one.score for one in known], dtype=float))
        points = self._encoding.points([one.genotype for one in known])
        return points, (scores - scores.mean()) / (scores.std() or 1.0)

    def _surrogate(self) -> Surrogate:
        """Returns the process with hyperparameters fitted to the first trials, whose number changes rarely."""
        if self._fitted is None or self._fitted[0] != self._fit_at:
            surrogate = Surrogate(self._encoding.groups)
            surrogate.fit(*self._standardized(self._fit_to))
            self._fitted = self._fit_at, surrogate
        return self._fitted[1]

    def _propose(self, opened: Round) -> None:
        surrogate, observed = self._surrogate(), self._standardized(self._known.chosen())
        pool = _Pool(self._sampler, opened)
        pool.sample(SAMPLED)
        pool.mutate([one.genotype for one in self._known.best(PARENTS)])
        bounds = np.zeros(0)
        for _ in range(ROUNDS):
            fresh = pool.genotypes[len(bounds) :]
            if not fresh:
                break
            bounds = np.append(bounds, _upper(surrogate.condition(*observed, self._encoding.points(fresh))))
            costs = pool.costs(self._objectives)
            pool.mutate([pool.genotypes[i] for i in self._parents(opened.rng, bounds, costs)])
        if pool.members:
            pending = [genotype for each in opened.pending if (genotype := self._history.genotype(each)) is not None]
            points = self._encoding.points([*pool.genotypes, *pending])
            posterior = surrogate.condition(*observed, points)
            for place in range(len(pool.genotypes), len(points)):
                posterior.believe(place)
            self._offer_best(opened, pool, posterior)

    def _offer_best(self, opened: Round, pool: _Pool, posterior: Posterior) -> None:
        """Offers candidates of a posterior whose first points are theirs."""
        costs = pool.costs(self._objectives)
        left = np.ones(len(costs), dtype=bool)
        while not opened.full and left.any():
            chosen = self._pick(opened.rng, np.where(left, _upper(posterior)[: len(costs)], -np.inf), costs)
            left[chosen] = False
            opened.offer(pool.members[chosen], "bo")
            posterior.believe(chosen)

    def _parents(self, rng: random.Random, bounds: np.ndarray, costs: np.ndarray) -> list[int]:
        """Returns the candidates to mutate."""
        found: list[int] = []
        left = bounds.copy()
        while len(found) < min(PARENTS, len(bounds)):
            found.append(self._pick(rng, left, costs))
            left[found[-1]] = -np.inf
        return found

    def _pick(self, rng: random.Random, values: np.ndarray, costs: np.ndarray) -> int:
        """Returns the index of the highest value, sometimes only among those below a random cost."""
        if self._trade_off_share > 0 and rng.random() < self._trade_off_share:
            axis = rng.randrange(costs.shape[1]) if costs.shape[1] > 1 else 0
            finite = costs[np.isfinite(values), axis]
            values = np.where(costs[:, axis] <= rng.uniform(finite.min(), finite.max()), values, -np.inf)
        return int(values.argmax())


class _Pool:
    """The candidates of one batch: new, distinct feasible members."""

    def __init__(self, sampler: BudgetSampler, opened: Round) -> None:
        self._sampler, self._opened = sampler, opened
        self._seen: set[Architecture] = set()
        self.members: list[Member] = []
        self.genotypes: list[Genotype] = []

    def costs(self, metrics: Sequence[str]) -> np.ndarray:
        """Returns what the members cost (M, K)."""
        rows = [[float(member.cost.value(metric) or 0) for metric in metrics] for member in self.members]
        return np.array(rows).reshape(len(rows), len(metrics))

    def sample(self, count: int) -> None:
        """Adds up to `count` random members by layout, without duplicates and known ones."""
        for _ in range(count):
            try:
                member = self._sampler.sample(self._opened.rng)
            except BudgetError:  # the sampler found none
                break
            self._add(member, self._sampler.space.encode(member.architecture))

    def mutate(self, parents: Iterable[Genotype]) -> None:
        """Adds feasible mutations of some members."""
        rng = self._opened.rng
        for parent in parents:
            for _ in range(CHILDREN):
                child = parent
                for _ in range(rng.choice(MUTATIONS)):
                    child = mutated(self._sampler.space, child, rng)
                member = self._sampler.member(child)
                if member is not None:
                    self._add(member, child)

    def _add(self, member: Member, genotype: Genotype) -> None:
        if member.architecture not in self._seen and self._opened.is_new(member.architecture):
            self._seen.add(member.architecture)
            self.members.append(member)
            self.genotypes.append(genotype)


def without_outliers(scores: np.ndarray) -> np.ndarray:
    """Returns scores with very low outliers raised, since these would dominate the standardization."""
    low, median, high = np.quantile(scores, (0.25, 0.5, 0.75))
    spread = (scores.max() - median) or (high - low)  # where half of them are the best, the first is nothing
    return np.maximum(scores, median - OUTLIERS * spread) if spread else scores


def _upper(posterior: Posterior) -> np.ndarray:
    """Returns the upper confidence bounds (M,) of candidates."""
    return posterior.mean + KAPPA * np.sqrt(posterior.variance)


class MostInformative:
    """A bounded number of the trials so far: half of them the best, the others the latest of the rest.

    Attributes:
        count: The number of all trials so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._best: list[tuple[float, int, Observed]] = []
        self._latest: deque[tuple[int, Observed]] = deque(maxlen=MOST_OBSERVED)

    def add(self, one: Observed) -> None:
        insort(self._best, (-one.score, self.count, one))
        del self._best[MOST_OBSERVED // 2 :]
        self._latest.append((self.count, one))
        self.count += 1

    def best(self, most: int) -> list[Observed]:
        """Returns the best, best first; of equal ones the earlier."""
        return [one for _, _, one in self._best[:most]]

    def chosen(self) -> list[Observed]:
        """Returns the trials in the order in which they were added."""
        if self.count <= MOST_OBSERVED:
            return [one for _, one in self._latest]
        best = [(place, one) for _, place, one in self._best]
        places = {place for place, _ in best}
        others = [(place, one) for place, one in self._latest if place not in places]
        return [one for _, one in sorted([*best, *others[len(best) - MOST_OBSERVED :]], key=lambda pair: pair[0])]
