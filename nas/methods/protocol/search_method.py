"""`SearchMethod`: how architectures get scores, whole. One folder or file per method implements it."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar, cast

from nas.architecture import Architecture
from nas.budget import Budget
from nas.data import DataInfo
from nas.errors import OptionError
from nas.jobs.backend import ScorerSource
from nas.jobs.executor import Scorer
from nas.methods.protocol.context import Context
from nas.methods.protocol.plan import MethodPlan, Plan, Planned, Workload
from nas.methods.protocol.ranking import RankingSettings, RankingTask
from nas.options import MethodOptions, SearchOptions
from nas.progress import Progress
from nas.run import RunRecord
from nas.sampling import BudgetSampler
from nas.spaces import SearchSpace
from nas.trial import Trial

O = TypeVar("O", bound=MethodOptions)  # noqa: E741


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodDisk:
    """What a method needs of the disk.

    Attributes:
        training: Bytes at most while it trains.
        kept: Bytes that remain until the end of the run.
    """

    training: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedScorer:
    """A scorer that `nas rank` judges.

    Attributes:
        make: Makes it, once; what goes into it counts as its time.
        notes: What it did, for people; may grow while it is made.
    """

    make: Callable[[], Scorer]
    notes: list[str] = field(default_factory=list)


class SearchMethod(ABC, Generic[O]):
    """A way to give architectures scores: what it checks, plans, needs, trains first, scores with, keeps and restores.

    A search makes one of its method and calls, in this order: `open_source`, `check_data`, `set_up`, `plan` (or
    `restore`), `prepare`, `describe`, `disk`, `facts`; then `train` as a phase of its own, and `search`. Every
    step but `scorer` has a default, so that a method that only scores is a few lines. `nas rank` calls `ranked`.

    Attributes:
        phase: The name of what it trains first; None for nothing.
        training_share: Of the time of a search, what it plans to train for before the search.
        plan_type: The class of its own numbers in a plan.
        free_scores: Whether a score takes no longer than a proposal, so that thousands of trials cost nothing; searches
            then use evolution by default, else Bayesian optimization, which makes the most of each trial.
        name: That it is registered under.
        options: Its own options.
    """

    phase: ClassVar[str | None] = None
    training_share: ClassVar[float] = 0.0
    plan_type: ClassVar[type[MethodPlan]] = MethodPlan
    free_scores: ClassVar[bool] = False
    name: str
    options: O

    def __init__(self, name: str, options: MethodOptions) -> None:
        self.name, self.options = name, cast("O", options)

    # -- before the search ---------------------------------------------------------------------------------------

    def open_source(self, space: SearchSpace, options: SearchOptions, progress: Progress) -> SearchOptions:
        """Opens what an earlier run is to give; returns the options with what that fixes.

        Args:
            space: As it was loaded.

        Raises:
            NasError: If it cannot be used, or the options ask for something else.
        """
        return options

    def check_data(self, info: DataInfo, data: str) -> None:
        """Raises `RunError` if the data do not go with what an earlier run gives."""

    def set_up(self, space: SearchSpace, budgets: Sequence[Budget], options: SearchOptions) -> BudgetSampler:
        """The architectures that may be proposed, in a new run.

        Args:
            space: At the resolution that budgets are counted at, with the data's channels and classes.

        Raises:
            BudgetError: If there are none.
        """
        return BudgetSampler(space, budgets, min_share=options.min_share)

    def plan(self, workload: Workload) -> Planned:
        """The method's part of the plan."""
        return Planned(own=self.plan_type(), trial_seconds=0.01)

    def count(self, plan: Plan) -> str | None:
        """The name of the count that its scores are, of `nas.methods.counted.COUNTS`; None if they are no count."""
        return None

    def prepare(self, plan: Plan, options: SearchOptions, sampler: BudgetSampler) -> Plan:
        """Makes ready what a new run needs before anything is recorded; returns the plan with what that decides.

        Raises:
            NasError: If something that the options name cannot be used.
        """
        return plan

    def describe(self, plan: Plan, options: SearchOptions, *, images: int) -> tuple[str, list[str]]:
        """What scores rest on, in half a line ("Scores: nwot"), and further lines before the last, for people.

        Args:
            images: That train.
        """
        return f"Scores: {self.name}", []

    def disk(self, plan: Plan, *, network: int) -> MethodDisk:
        """What the method needs of the disk at most.

        Args:
            network: Bytes of one network's weights at most.
        """
        return MethodDisk()

    def facts(self) -> dict[str, Any]:
        """Plain JSON for the run's manifest, from which `restore` makes the method again."""
        return {}

    def data_seed(self, seed: int) -> int:
        """The seed by which training images are divided, given that of the search."""
        return seed

    def restore(
        self,
        run: RunRecord,
        plan: Plan,
        options: SearchOptions,
        space: SearchSpace,
        budgets: Sequence[Budget],
        *,
        trained: bool,
    ) -> BudgetSampler:
        """Makes the method of a stopped run ready again; returns the architectures that may be proposed.

        Args:
            space, budgets: As for `set_up`.
            trained: Whether what it trains first is done.

        Raises:
            RunError: If the record, or what it names, is not what it was.
        """
        return self.set_up(space, budgets, options)

    # -- the search ----------------------------------------------------------------------------------------------

    def train(self, context: Context) -> Any:
        """Trains what scores rest on, or continues to; called where `phase` is not None.

        Returns:
            What `search` is given.
        """
        raise NotImplementedError

    def search(self, context: Context, trained: Any, score: Callable[[ScorerSource], list[Trial]]) -> list[Trial]:
        """Proposes and scores architectures, those on record included; returns all trials, in order.

        Args:
            trained: What `train` returned; None without it.
            score: Scores what the searcher proposes, wherever the search runs its jobs.
        """
        return score(self.scorer(context, trained))

    def scorer(self, context: Context, trained: Any) -> ScorerSource:
        """The scorer, which can be made here or packed for other processes."""
        raise NotImplementedError

    def first_proposals(self, run: RunRecord) -> tuple[Architecture, ...]:
        """Architectures that are proposed before all others."""
        return ()

    # -- nas rank ------------------------------------------------------------------------------------------------

    def check_ranking(self, settings: RankingSettings) -> None:
        """Raises `OptionError` if the method cannot be ranked with these settings."""

    def ranked(self, task: RankingTask) -> RankedScorer:
        """The scorer for the networks of a table.

        Raises:
            OptionError: If the method cannot score networks outside of a search.
        """
        raise OptionError(f"--method {self.name} scores inside a search alone. Leave it out.")
