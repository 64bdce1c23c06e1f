"""What every phase of one search works with."""

from __future__ import annotations

from dataclasses import dataclass

from nas.budget import Budget
from nas.data import Dataset
from nas.options import SearchOptions
from nas.progress import Progress
from nas.run import Run
from nas.searching.plan import Plan
from nas.searching.sampling import BudgetSampler
from nas.space import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """One search on its way: what was asked, what was planned, and where it is recorded.

    Attributes:
        space: At the resolution that budgets are counted at, with the data's channels and classes.
        sampler: The members of `space` in range of `budgets`.
    """

    run: Run
    space: SearchSpace
    budgets: tuple[Budget, ...]
    sampler: BudgetSampler
    data: Dataset
    plan: Plan
    options: SearchOptions
    progress: Progress
