"""Greedy slimming: from the largest networks within the budget, one step smaller at a time (Li et al. 2022).

Rethinking Vision Transformers for MobileNet Size and Speed, arXiv:2212.08059: every single slimming action on the
current network is scored, and the one with the least loss of score per gain in the mobile efficiency score,
MES ~ params^-0.5 latency^-1, is taken. Theirs starts at the largest network of the space, with the weights of a
supernet; here all candidates are within the budget, so that each is a result. The walk starts at the largest feasible
network of every layout, and goes down to the least share of the budget.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from nas.architecture import Architecture
from nas.budget import Cost
from nas.sampling.budget_sampler import BudgetSampler, Member
from nas.searchers.searcher import History, Proposal
from nas.spaces.slimming import slimmed
from nas.trial import Trial

PARAMS_EXPONENT = 0.5
"""Of parameters in the efficiency score; every other objective has 1."""


class Slimming:
    """Greedy slimming of each layout's largest feasible network, all layouts side by side."""

    def __init__(
        self,
        sampler: BudgetSampler,
        *,
        seed: int,
        objectives: Sequence[str] = ("macs",),
        presets: Sequence[Architecture] = (),
    ) -> None:
        self._sampler, self._seed = sampler, seed
        self._exponents = {"params": PARAMS_EXPONENT, **dict.fromkeys(objectives, 1.0)}
        self._history = History(sampler, seed=seed, presets=presets)
        self._starts: list[Member] | None = None
        self._steps: dict[Architecture, list[Member]] = {}
        self._taken, self._scores = 0, dict[Architecture, float | None]()

    def tell(self, trials: Iterable[Trial]) -> None:
        self._history.tell(trials)

    def ask(self, n: int, batch: int) -> list[Proposal]:
        opened = self._history.round(n, batch)
        self._observe(opened.earlier)
        starts = {start.architecture for start in self._largest()}
        # A step of each layout in turn, so that a batch that cannot hold all steps holds some of every walk.
        for steps in zip_longest(*(self._walk(start) for start in self._largest())):
            for member in steps:
                if member is not None:
                    opened.offer(member, "slimming" if member.architecture not in starts else "largest")
        return opened.fill()

    def _observe(self, earlier: int) -> None:
        """Takes in the first `earlier` trials, those of earlier batches."""
        if earlier < self._taken:
            self._taken, self._scores = 0, {}
        self._scores |= {trial.architecture: trial.score for trial in self._history.trials(self._taken, earlier)}
        self._taken = earlier

    def _largest(self) -> list[Member]:
        if self._starts is None:
            self._starts = [
                self._sampler.largest(random.Random(f"{self._seed}/{layout}"), layout)
                for layout in self._sampler.layouts
            ]
        return self._starts

    def _walk(self, start: Member) -> list[Member]:
        """Returns the members whose scores the walk needs next; none at its end."""
        current, scores = start, self._scores
        if current.architecture not in scores:
            return [current]
        while True:
            steps = self._smaller(current)
            unknown = [step for step in steps if step.architecture not in scores]
            known = [(step, score) for step in steps if (score := scores.get(step.architecture)) is not None]
            if unknown or not known:
                return unknown
            before = scores[current.architecture]
            if before is None:  # the start failed, as the largest network may
                losses = [-score for _, score in known]
            else:
                losses = [_loss(before - score, self._gain(current.cost, step.cost)) for step, score in known]
            current, _ = known[losses.index(min(losses))]

    def _smaller(self, member: Member) -> list[Member]:
        """Returns the feasible members one slimming action away that are more efficient."""
        found = self._steps.get(member.architecture)
        if found is None:
            genotype = self._history.genotype(member.architecture)
            assert genotype is not None, "a sampler's members are of its space"
            located = map(self._history.locate_genotype, slimmed(self._sampler.space, genotype))
            found = [step for step in located if step is not None and self._gain(member.cost, step.cost) > 0]
            self._steps[member.architecture] = found
        return found

    def _gain(self, before: Cost, after: Cost) -> float:
        """Returns the logarithm of the factor by which the efficiency score rises."""
        gain = 0.0
        for metric, exponent in self._exponents.items():
            old, new = before.value(metric), after.value(metric)
            if old and new:
                gain += exponent * math.log(old / new)
        return gain


def _loss(lost: float, gain: float) -> float:
    """Returns what a step costs for what it gains; where it raises the score, more gain makes it better too."""
    return lost / gain if lost > 0 else lost * gain
