"""The context of one search, shared by all its phases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nas.architecture import Architecture
from nas.budget import Budget
from nas.data import Dataset
from nas.jobs.backend import Backend, ScorerSource
from nas.jobs.executor import Executor
from nas.methods.protocol.plan import Plan
from nas.options import SearchOptions
from nas.progress import Progress
from nas.run import Run
from nas.sampling import BudgetSampler
from nas.spaces import SearchSpace
from nas.training import Recipe
from nas.training.recipe_file import RecipeFile


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """A search in progress: its options, plan, data and record.

    Attributes:
        space: The space at the resolution at which costs are counted, with the data's channels and classes.
        sampler: Sampler of the architectures that may be proposed: feasible, and scorable by the method.
        presets: Architectures that are proposed first.
        portfolio: Architectures that are finalists whatever their scores, by what chose them.
        rivals: Networks outside the search that are finalists too, by a name for each.
        recipe: What `--recipe` changes in the trainings of single networks, as it was read when the search began.
        backend: Where measuring, scoring and training of networks run.
    """

    run: Run
    space: SearchSpace
    budgets: tuple[Budget, ...]
    sampler: BudgetSampler
    presets: tuple[Architecture, ...]
    portfolio: Mapping[str, Architecture]
    data: Dataset
    plan: Plan
    recipe: RecipeFile
    options: SearchOptions
    progress: Progress
    backend: Backend
    rivals: Mapping[str, Architecture] = field(default_factory=dict)

    @property
    def finalists_folder(self) -> Path:
        """The folder of checkpoints of finalists, each in a folder named by its digest."""
        return self.run.path / "finalists"

    def network_recipe(self, params: int, *, epochs: int | None = None) -> Recipe:
        """Returns the recipe of networks that are trained alone: finalists, rivals, a parent.

        Args:
            params: Of the network.
            epochs: None for those of a finalist.
        """
        epochs = self.plan.finalist_epochs if epochs is None else epochs
        recipe = self.plan.recipe(epochs=epochs, seed=self.options.seed, params=params)
        recipe = replace(recipe, compile=self.options.compile)
        return self.recipe.applied(recipe, images=len(self.data.train))

    def scoring(self, source: ScorerSource) -> Executor:
        """Returns an executor of jobs that score or measure networks; whoever asks for it closes it."""
        splits = (self.data.train, self.data.search_validation)
        return self.backend.scoring(
            source,
            threads=self.plan.job_threads,
            expected_s=self.plan.seconds["search"] / self.plan.trials,
            data_bytes=sum(split.images.nbytes + split.labels.nbytes for split in splits),
        )
