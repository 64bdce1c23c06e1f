"""`SearchMethod`: the interface of a way to score architectures, implemented by one folder or file per method."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar, cast

from nas.architecture import Architecture
from nas.budget import Budget
from nas.data import DataInfo, Dataset
from nas.errors import OptionError
from nas.jobs.backend import ScorerSource
from nas.jobs.executor import Scorer
from nas.jobs.training import Beginnings
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
    """Disk use of a method.

    Attributes:
        before: Maximal bytes during each phase before that training, by its name.
        training: Maximal bytes while it trains one network, or one set of weights, at a time.
        kept: Bytes that remain until the end of the run.
        each: Maximal bytes of each further training that workers do at the same time.
        trainings: Maximal number of trainings at the same time.
    """

    before: Mapping[str, int] = field(default_factory=dict)
    training: int = 0
    kept: int = 0
    each: int = 0
    trainings: int = 1

    def most_training(self, at_once: int) -> int:
        """Returns the maximal bytes with so many trainings at a time, if there are that many."""
        return self.training + max(0, min(at_once, self.trainings) - 1) * self.each


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedScorer:
    """A scorer that `nas rank` evaluates.

    Attributes:
        make: Makes the scorer, once; the time counts as the scorer's.
        notes: Lines on what it did; may grow while it is made.
    """

    make: Callable[[], Scorer]
    notes: list[str] = field(default_factory=list)


class SearchMethod(ABC, Generic[O]):
    """A way to score architectures, with its checks, plan, training, manifest entries and restoring.

    A search creates one instance and calls, in this order: `open_source`, `check_data`, `set_up`, `plan` (or
    `restore`), `prepare`, `describe`, `disk`, `facts`; then `train` as a phase of its own, and `search`. Every
    step but `scorer` has a default, so a method that only scores takes a few lines. `nas rank` calls `ranked`.

    Attributes:
        phase: Name of its training phase before the search; None if it trains nothing.
        training_share: Share of a search's time planned for that phase.
        least_seconds: Least time that a search is planned for where none is asked for.
        plan_type: Class of its own part of a plan.
        free_scores: Whether scoring takes no longer than proposing, so that thousands of trials cost nothing; searches
            then use evolution by default, else Bayesian optimization, which needs fewer trials.
        name: The name that it is registered under.
        options: Its own options.
    """

    phase: ClassVar[str | None] = None
    training_share: ClassVar[float] = 0.0
    least_seconds: float = 0.0
    plan_type: type[MethodPlan] = MethodPlan
    free_scores: ClassVar[bool] = False
    name: str
    options: O

    def __init__(self, name: str, options: MethodOptions) -> None:
        self.name, self.options = name, cast("O", options)

    # -- before the search ---------------------------------------------------------------------------------------

    def open_source(self, space: SearchSpace, options: SearchOptions, progress: Progress) -> SearchOptions:
        """Opens the earlier run that the method reuses, if any; returns the options with the values that it fixes.

        Args:
            space: The space as loaded.

        Raises:
            NasError: If the run cannot be used, or the options contradict it.
        """
        return options

    @property
    def device_models(self) -> Mapping[str, str]:
        """Texts of the latency models, by setting, that the reused run kept its budgets by."""
        return {}

    def check_data(self, info: DataInfo, data: str) -> None:
        """Raises `RunError` if the data do not match the reused run."""

    def cautions(self, info: DataInfo, seed: int) -> list[str]:
        """Returns what a reader of the run's accuracies should know, before it is planned.

        Raises:
            RunError: If it cannot be searched so.
        """
        return []

    def set_up(self, space: SearchSpace, budgets: Sequence[Budget], options: SearchOptions) -> BudgetSampler:
        """Returns a sampler of the architectures that a new run may propose.

        Args:
            space: The space at the resolution at which costs are counted, with the data's channels and classes.

        Raises:
            BudgetError: If there is no feasible architecture.
        """
        return BudgetSampler(space, budgets, min_share=options.min_share)

    def plan(self, workload: Workload) -> Planned:
        """Plans the method's part."""
        return Planned(own=self.plan_type(), trial_seconds=0.01)

    def count(self, plan: Plan) -> str | None:
        """Returns the count (of `nas.methods.counted.COUNTS`) that its scores are; None if they are not a count."""
        return None

    def prepare(self, plan: Plan, options: SearchOptions, sampler: BudgetSampler) -> Plan:
        """Prepares a new run before anything is recorded; returns the plan, completed.

        Raises:
            NasError: If something that the options name cannot be used.
        """
        return plan

    def describe(self, plan: Plan, options: SearchOptions, *, images: int) -> tuple[str, list[str]]:
        """Describes the scores in half a line ("Scores: nwot"), and in further lines.

        Args:
            images: Number of training images.
        """
        return f"Scores: {self.name}", []

    def disk(self, plan: Plan, *, network: int) -> MethodDisk:
        """Returns the method's maximal disk use.

        Args:
            network: Maximal bytes of one network's weights.
        """
        return MethodDisk()

    def facts(self) -> dict[str, Any]:
        """Returns plain JSON for the run's manifest, from which `restore` re-creates the method."""
        return {}

    def data_seed(self, seed: int) -> int:
        """Returns the seed that splits the training images, given the search's seed."""
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
        """Restores the method of a stopped run; returns a sampler of the architectures that may be proposed.

        Args:
            space, budgets: As for `set_up`.
            trained: Whether its training phase is finished.

        Raises:
            RunError: If the record, or a file that it names, has changed.
        """
        return self.set_up(space, budgets, options)

    def adapted(self, data: Dataset) -> Dataset:
        """Returns the data as the method's networks take them, such as with a parent's normalization."""
        return data

    def rivals(self, sampler: BudgetSampler) -> dict[str, Architecture]:
        """Returns what one would have tried with the method's parent, by the names `parent` or `scaled`."""
        return {}

    # -- the search ----------------------------------------------------------------------------------------------

    def before(self, context: Context) -> None:
        """Does what comes before its training, as recorded phases of their own."""

    def train(self, context: Context) -> Any:
        """Trains what the scores are based on, or resumes that training; called if `phase` is not None.

        Returns:
            The `trained` argument of `search`.
        """
        raise NotImplementedError

    def search(self, context: Context, trained: Any, score: Callable[[ScorerSource], list[Trial]]) -> list[Trial]:
        """Proposes and scores the architectures not on record yet; returns all trials, in order.

        Args:
            trained: The return value of `train`; None without it.
            score: Scores the searcher's proposals on the search's backend.
        """
        return score(self.scorer(context, trained))

    def scorer(self, context: Context, trained: Any) -> ScorerSource:
        """Returns the source of the scorer, which can make it here or pack it for other processes."""
        raise NotImplementedError

    def beginnings(self, context: Context, finalists: Sequence[Architecture]) -> Beginnings:
        """Returns what finalists begin with; nothing for networks that are trained from scratch.

        Args:
            finalists: At the resolution at which costs are counted.
        """
        return Beginnings()

    def first_proposals(self, run: RunRecord) -> tuple[Architecture, ...]:
        """Returns the architectures to propose first."""
        return ()

    # -- nas rank ------------------------------------------------------------------------------------------------

    def check_ranking(self, settings: RankingSettings) -> None:
        """Raises `OptionError` if the method cannot be ranked with these settings."""

    def ranked(self, task: RankingTask) -> RankedScorer:
        """Returns the scorer for the networks of a table.

        Raises:
            OptionError: If the method cannot score networks outside of a search.
        """
        raise OptionError(f"--method {self.name} can score only within a search. Leave it out.")
