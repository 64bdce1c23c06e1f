"""What every phase of one search works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nas.architecture import Architecture
from nas.budget import Budget
from nas.data import Dataset
from nas.jobs.backend import Backend
from nas.methods.protocol.plan import Plan
from nas.options import SearchOptions
from nas.progress import Progress
from nas.run import Run
from nas.sampling import BudgetSampler
from nas.spaces import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """One search on its way: what was asked, what was planned, and where it is recorded.

    Attributes:
        space: At the resolution that budgets are counted at, with the data's channels and classes.
        sampler: The architectures that may be proposed: feasible, and such that the method can score them.
        presets: Architectures that are proposed first.
        portfolio: Architectures that are finalists whatever their scores, by what chose them.
        backend: Where scoring and the finalists' training run.
    """

    run: Run
    space: SearchSpace
    budgets: tuple[Budget, ...]
    sampler: BudgetSampler
    presets: tuple[Architecture, ...]
    portfolio: Mapping[str, Architecture]
    data: Dataset
    plan: Plan
    options: SearchOptions
    progress: Progress
    backend: Backend
