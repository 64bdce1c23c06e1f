"""The protocol of searchers, and their common rules for proposals.

A searcher proposes architectures in numbered batches (`ask`) and observes their scores (`tell`). The proposals of a
batch depend only on its seed, the batch number and the trials of earlier batches: no sampler state needs saving, and
a resumed search tells the recorded trials and asks for the next batch.

With `--asynchronous`, a batch is what is proposed for the workers that are free at a time. Trials of earlier batches
may then be told after it was asked for; until then they are pending (`History.pending`).
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from nas.architecture import Architecture
from nas.budget import Cost
from nas.errors import BudgetError, SpaceError
from nas.options import SEARCHERS
from nas.sampling.budget_sampler import BudgetSampler, Member
from nas.sampling.enumeration import members
from nas.spaces import Genotype
from nas.trial import Trial

START = 16
"""Number of complete random trials before a searcher learns from them."""
SAMPLES = 30
"""Number of samples from a layout that may all be known before its members are enumerated instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An architecture to score, with its exact cost.

    Attributes:
        origin: Where it came from: "preset", "random", "mutation", "crossover", "bo", "largest" or
            "slimming".
        layout: One letter per stage, such as CCAA.
    """

    architecture: Architecture
    origin: str
    cost: Cost
    layout: str


class Searcher(Protocol):
    """Proposes architectures, and learns from their trials."""

    def ask(self, n: int, batch: int) -> list[Proposal]:
        """Proposes `n` architectures for batch number `batch`.

        Each is in the sampler's feasible set, and none was a trial or a proposal of an earlier batch. Fewer than `n`
        are returned only if there are no more. Trials of this batch and later ones are ignored, so that asking again
        for an interrupted batch gives the same proposals.
        """
        ...

    def tell(self, trials: Iterable[Trial]) -> None:
        """Observes scored (or failed) trials, in the order in which they are recorded."""
        ...


class MakesSearcher(Protocol):
    """Factory of a searcher over the members of a sampler; the type that is registered.

    Args:
        seed: The random seed, used with the batch's number.
        objectives: The costs that are minimized where the searcher weighs score against cost.
        presets: Proposed before all else, in this order; those that are no feasible members are passed over.
    """

    def __call__(
        self,
        sampler: BudgetSampler,
        *,
        seed: int,
        objectives: Sequence[str] = ("macs",),
        presets: Sequence[Architecture] = (),
    ) -> Searcher: ...


@dataclass(frozen=True, slots=True)
class Observed:
    """A trial that a searcher learns from: one with a score, of a member of its space."""

    trial: Trial
    genotype: Genotype
    score: float


class History:
    """The trials and proposals so far, by batch; opens the rounds in which a searcher proposes.

    Nothing that is done per batch takes longer the more trials there are.
    """

    def __init__(self, sampler: BudgetSampler, *, seed: int, presets: Sequence[Architecture] = ()) -> None:
        self.sampler, self.seed = sampler, seed
        self.presets = tuple(member for member in map(self.locate, presets) if member is not None)
        self._trials: list[Trial] = []
        self._trial_batches: list[int] = []
        self._latest = -1
        self._batches: dict[Architecture, int] = {}
        self._pending: dict[Architecture, int] = {}
        self._listed: dict[str, list[Member]] = {}

    def tell(self, trials: Iterable[Trial]) -> None:
        for trial in trials:
            self._trials.append(trial)
            self._trial_batches.append(trial.batch)
            self._latest = max(self._latest, trial.batch)
            self._note(trial.architecture, trial.batch)
            self._pending.pop(trial.architecture, None)

    def propose(self, architecture: Architecture, batch: int) -> None:
        """Records that a batch has an architecture, which is pending until its trial is told."""
        if architecture not in self._batches:
            self._pending[architecture] = batch
        self._note(architecture, batch)

    def pending(self, batch: int) -> list[Architecture]:
        """Returns the proposals of earlier batches that have no trial yet."""
        return [architecture for architecture, first in self._pending.items() if first < batch]

    def round(self, n: int, batch: int) -> Round:
        """Starts batch number `batch` of up to `n` proposals, with the presets that were not proposed yet."""
        return Round(self, n, batch)

    def count_before(self, batch: int) -> int:
        """Returns the number of trials of earlier batches, which were told before any others."""
        if batch > self._latest:
            return len(self._trials)
        return bisect_left(self._trial_batches, batch)

    def was_proposed_before(self, architecture: Architecture, batch: int) -> bool:
        """Returns whether an earlier batch has the architecture."""
        first = self._batches.get(architecture)
        return first is not None and first < batch

    def trials(self, first: int, end: int) -> Sequence[Trial]:
        """Returns the trials in places `first` to `end`, failed ones among them."""
        return self._trials[first:end]

    def observed(self, first: int, end: int) -> Iterator[list[Observed]]:
        """Yields what can be learned from the trials in places `first` to `end`, batch by batch."""
        for _, group in groupby(self.trials(first, end), key=lambda trial: trial.batch):
            found: list[Observed] = []
            for trial in group:
                genotype = None if trial.score is None else self.genotype(trial.architecture)
                if trial.score is not None and genotype is not None:
                    found.append(Observed(trial, genotype, trial.score))
            yield found

    def _note(self, architecture: Architecture, batch: int) -> None:
        """Records the earliest batch of an architecture."""
        self._batches[architecture] = min(batch, self._batches.get(architecture, batch))

    def locate(self, architecture: Architecture) -> Member | None:
        """Returns a feasible member as the space encodes it, with its cost; None for all other architectures."""
        genotype = self.genotype(architecture)
        return None if genotype is None else self.locate_genotype(genotype)

    def genotype(self, architecture: Architecture) -> Genotype | None:
        """Returns the genotype of a member of the space; None for other architectures."""
        try:
            return self.sampler.space.encode(architecture)
        except SpaceError:
            return None

    def locate_genotype(self, genotype: Genotype) -> Member | None:
        """Returns the feasible member of a genotype; None if it is not feasible or breaks the space's rules."""
        return self.sampler.member(genotype) if self.sampler.space.valid(genotype) else None

    def members(self, layout: str) -> list[Member]:
        """Returns the feasible members of a layout, enumerated once."""
        if layout not in self._listed:
            self._listed[layout] = list(members(self.sampler, layout))
        return self._listed[layout]


class Round:
    """A batch being filled; `proposals` grows until `full`.

    Attributes:
        rng: Seeded from the search's seed and the batch number.
        earlier: Number of trials of earlier batches.
        pending: Proposals of earlier batches that have no trial yet.
    """

    def __init__(self, history: History, n: int, batch: int) -> None:
        self.rng = random.Random(f"{history.seed}:{batch}")
        self.earlier = history.count_before(batch)
        self.pending = history.pending(batch)
        self.proposals: list[Proposal] = []
        self._offered: set[Architecture] = set()
        self._history, self._n, self._batch = history, n, batch
        for preset in history.presets:
            self.offer(preset, "preset")

    @property
    def full(self) -> bool:
        return len(self.proposals) >= self._n

    def is_new(self, architecture: Architecture) -> bool:
        """Returns whether the architecture is neither in this batch nor in an earlier one."""
        return architecture not in self._offered and not self._history.was_proposed_before(architecture, self._batch)

    def offer(self, member: Member | None, origin: str) -> bool:
        """Proposes a member unless it is None, known, or the batch is full; returns whether it did."""
        if member is None or self.full or not self.is_new(member.architecture):
            return False
        self._offered.add(member.architecture)
        self._history.propose(member.architecture, self._batch)
        self.proposals.append(
            Proposal(architecture=member.architecture, origin=origin, cost=member.cost, layout=member.layout)
        )
        return True

    def offer_random(self, layouts: Sequence[str] | None = None) -> bool:
        """Proposes a new architecture sampled by layout; returns False if there are no more, or the batch is full.

        Args:
            layouts: The order in which the layouts are tried; a random one by default.
        """
        if self.full:
            return False
        order = layouts or self.rng.sample(self._history.sampler.layouts, len(self._history.sampler.layouts))
        return any(self.offer(self._sample_new(layout), "random") for layout in order)

    def fill(self) -> list[Proposal]:
        """Fills up with new random architectures and returns the batch."""
        while self.offer_random():
            pass
        return self.proposals

    def _sample_new(self, layout: str) -> Member | None:
        sampler = self._history.sampler
        for _ in range(SAMPLES):
            try:
                member = sampler.sample(self.rng, layout=layout)
            except BudgetError:
                break
            if self.is_new(member.architecture):
                return member
        unseen = [member for member in self._history.members(layout) if self.is_new(member.architecture)]
        return self.rng.choice(unseen) if unseen else None


def make_searcher(
    name: str,
    sampler: BudgetSampler,
    *,
    seed: int,
    objectives: Sequence[str] = ("macs",),
    presets: Sequence[Architecture] = (),
) -> Searcher:
    """Makes the searcher registered under a name; see `MakesSearcher` for the arguments.

    Raises:
        OptionError: If the name is unknown, with the nearest one.
    """
    return SEARCHERS[name](sampler, seed=seed, objectives=objectives, presets=presets)
