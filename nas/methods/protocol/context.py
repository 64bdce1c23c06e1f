"""What every phase of one search works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
from nas.training import Recipe


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

    @property
    def finalists_folder(self) -> Path:
        """Where checkpoints of networks that are trained alone are, each in a folder named by its digest."""
        return self.run.path / "finalists"

    def finalist_recipe(self, params: int) -> Recipe:
        """The recipe by which `nas train` would train a network of so many parameters, and finalists are trained."""
        return self.plan.recipe(epochs=self.plan.finalist_epochs, seed=self.options.seed, params=params)
