"""Random search: the baseline that every other searcher has to beat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nas.architecture import Architecture
from nas.sampling.budget_sampler import BudgetSampler
from nas.searchers.searcher import History, Proposal
from nas.trial import Trial


class RandomSearch:
    """Samples by layout, without repetition."""

    def __init__(
        self,
        sampler: BudgetSampler,
        *,
        seed: int,
        objectives: Sequence[str] = ("macs",),
        presets: Sequence[Architecture] = (),
    ) -> None:
        self._history = History(sampler, seed=seed, presets=presets)

    def ask(self, n: int, batch: int) -> list[Proposal]:
        return self._history.round(n, batch).fill()

    def tell(self, trials: Iterable[Trial]) -> None:
        self._history.tell(trials)
