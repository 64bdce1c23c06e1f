"""The protocol of searchers, and their common rules for proposals.

A searcher proposes architectures in numbered batches (`ask`) and observes their scores (`tell`). The proposals of a
batch depend only on its seed, the batch number and the trials of earlier batches: no sampler state needs saving, and
a resumed search tells the recorded trials and asks for the next batch.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
        """Observes scored (or failed) trials, in the order in which they were proposed."""
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


class History:
    """The trials and proposals so far, by batch; opens the rounds in which a searcher proposes."""

    def __init__(self, sampler: BudgetSampler, *, seed: int, presets: Sequence[Architecture] = ()) -> None:
        self.sampler, self.seed = sampler, seed
        self.presets = tuple(member for member in map(self.locate, presets) if member is not None)
        self._trials: list[Trial] = []
        self._batches: dict[Architecture, int] = {}
        self._listed: dict[str, list[Member]] = {}

    def tell(self, trials: Iterable[Trial]) -> None:
        for trial in trials:
            self._trials.append(trial)
            self.note(trial.architecture, trial.batch)

    def note(self, architecture: Architecture, batch: int) -> None:
        """Records the earliest batch of an architecture."""
        self._batches[architecture] = min(batch, self._batches.get(architecture, batch))

    def round(self, n: int, batch: int) -> Round:
        """Starts batch number `batch` of up to `n` proposals, with the presets that were not proposed yet."""
        earlier = [trial for trial in self._trials if trial.batch < batch]
        known = {architecture for architecture, first in self._batches.items() if first < batch}
        return Round(self, n, batch, earlier, known)

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
        earlier: The trials of earlier batches, in the order in which they were observed.
    """

    def __init__(self, history: History, n: int, batch: int, earlier: list[Trial], known: set[Architecture]) -> None:
        self.rng = random.Random(f"{history.seed}:{batch}")
        self.earlier = earlier
        self.proposals: list[Proposal] = []
        self._history, self._n, self._batch, self._known = history, n, batch, known
        for preset in history.presets:
            self.offer(preset, "preset")

    @property
    def full(self) -> bool:
        return len(self.proposals) >= self._n

    def is_new(self, architecture: Architecture) -> bool:
        """Returns whether the architecture is neither in this batch nor in an earlier one."""
        return architecture not in self._known

    def offer(self, member: Member | None, origin: str) -> bool:
        """Proposes a member unless it is None, known, or the batch is full; returns whether it did."""
        if member is None or self.full or not self.is_new(member.architecture):
            return False
        self._known.add(member.architecture)
        self._history.note(member.architecture, self._batch)
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
