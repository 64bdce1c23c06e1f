"""The method `supernet`: scores architectures with shared weights, trained for the budget or reused from a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.architecture import Architecture
from nas.budget import Budget
from nas.data import DataInfo, Dataset
from nas.errors import RunError
from nas.formats import count
from nas.jobs.backend import ScorerSource
from nas.jobs.training import Beginnings
from nas.methods.protocol.context import Context
from nas.methods.protocol.manifest import check_program
from nas.methods.protocol.phases import do_phase, is_finished
from nas.methods.protocol.plan import TRAINING_SHARE, Plan, Planned, Workload, within
from nas.methods.protocol.ranking import RankingSettings, RankingTask
from nas.methods.protocol.saved_run import SavedRun, check_run_given
from nas.methods.protocol.search_method import MethodDisk, RankedScorer, SearchMethod
from nas.methods.supernet.inheriting import LAYERS, PHASE, SECONDS, Inheritance
from nas.methods.supernet.options import SupernetOptions
from nas.methods.supernet.parent import Parent, check_member, load_parent, planned_parent
from nas.methods.supernet.plans import (
    TRAIN_MIN_SHARE,
    ParentPlan,
    SupernetPlan,
    TrainingMembers,
    planned_shards,
)
from nas.methods.supernet.reuse import (
    FOLDER,
    CoveredSampler,
    ReusedSupernet,
    SupernetCoverage,
    check_covered,
    check_same_classes,
    fixed_options,
    uncovered,
)
from nas.methods.supernet.scorer import SupernetScoring
from nas.methods.supernet.training import train_supernet
from nas.networks.supernet import Supernet
from nas.options import SearchOptions
from nas.progress import Progress
from nas.run import RunRecord, link_or_copy
from nas.run.events import SupernetReused
from nas.run.files import file_digest
from nas.sampling import BudgetSampler
from nas.spaces import SearchSpace
from nas.training.checkpoint import load_checkpoint, newest, size_on_disk
from nas.training.supernet import watching

INHERITED_RATE = 2.0
"""Learning rate of a supernet that begins with a parent's weights, as a multiple of that of one from scratch: the rate
of a network alone. Most of its members have lost too much to be merely fine-tuned (`experiments/inherited-rate`)."""


class SupernetMethod(SearchMethod[SupernetOptions]):
    """Scores by validation accuracy, or loss, with a supernet's weights, BatchNorm recalibrated for each network."""

    phase = FOLDER
    training_share = TRAINING_SHARE
    plan_type = SupernetPlan
    coverage: SupernetCoverage
    training: BudgetSampler
    _sampler: BudgetSampler

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self._source: SavedRun | None = None
        self._reused: ReusedSupernet | None = None
        self._supernet: Supernet | None = None
        self._inheritance: Inheritance | None = None
        if self.options.parent is not None:
            self.plan_type, self.least_seconds = ParentPlan, SECONDS

    # -- before the search ---------------------------------------------------------------------------------------

    def open_source(self, space: SearchSpace, options: SearchOptions, progress: Progress) -> SearchOptions:
        source = self.options.supernet
        if self.options.parent is not None:
            parent = load_parent(self.options.parent, self.options.weights)
            check_member(parent, space)
            self._inheritance = self._begin_with(parent)
        if source is None:
            return options
        self._source, self._reused = ReusedSupernet.find(source, space)
        check_program(self._source.run, progress)
        return fixed_options(options, source, self._reused.coverage)

    @property
    def device_models(self) -> Mapping[str, str]:
        return {} if self._source is None else self._source.run.part("device_models")

    def check_data(self, info: DataInfo, data: str) -> None:
        if self._source is not None:
            check_same_classes(self._source.run, info, data)
        if self._inheritance is not None:
            self._inheritance.check_data(info)

    def cautions(self, info: DataInfo, seed: int) -> list[str]:
        found = None if self._inheritance is None else self._inheritance.parent.caution(info, seed)
        return [] if found is None else [found]

    def set_up(self, space: SearchSpace, budgets: Sequence[Budget], options: SearchOptions) -> BudgetSampler:
        if self._reused is None:
            self._sampler = super().set_up(space, budgets, options)
            return self._sampler
        self.coverage = self._reused.coverage
        self.training = self.coverage.sampler(space)
        check_covered(self.coverage, budgets, self.training, str(self.options.supernet))
        return CoveredSampler(space, budgets, min_share=options.min_share, coverage=self.coverage)

    def plan(self, workload: Workload) -> Planned:
        # The sandwich rule trains four networks per step. In short trainings, single paths scored better for the same
        # compute (docs/decisions/0002-supernet-training.md), so it is used only if there is time for many steps of
        # four networks.
        affordable = workload.affordable / workload.images
        strategy = self.options.strategy or ("sandwich" if affordable >= 240 else "single-path")
        members = 4 if strategy == "sandwich" else 1
        epochs = self.options.epochs or within(round(affordable / members), 4, 60)
        # By loss, 1,000 images rank networks as well as all images do; by accuracy, all are needed
        # (experiments/recalibration).
        enough = 1000 if self.options.scorer == "loss" else 5000
        recalibration, validation = 512, min(enough, workload.held_out)
        own = SupernetPlan(
            epochs=epochs,
            strategy=strategy,
            watch_every=max(1, epochs // 8),
            recalibration_images=recalibration,
            validation_images=validation,
            train_min_share=min(TRAIN_MIN_SHARE, workload.options.min_share),
            shards=self._shards(workload.options.fixed_workers(), workload.images),
        )
        images, held_out = workload.images, workload.held_out
        watched = watching(epochs=epochs, every=own.watch_every, images=images, held_out=held_out)
        seconds = (epochs * members * images + watched) / workload.rate
        if self._inheritance is not None:
            return self._inheritance.planned(workload, self._sampler, own)
        if self._reused is not None:
            # Trained already; how it was stays on record.
            given = self._reused.coverage
            own = replace(
                own,
                epochs=given.epochs,
                strategy=given.strategy,
                train_min_share=given.train_min_share,
                shards=1,
            )
            seconds = 0.0
        return Planned(
            own=own,
            training_seconds=seconds,
            trial_seconds=(recalibration + validation) / (3 * workload.scoring_rate),
        )

    def prepare(self, plan: Plan, options: SearchOptions, sampler: BudgetSampler) -> Plan:
        own = plan.of(SupernetPlan)
        shards = self._shards(own.shards, plan.batch_size)
        plan = replace(plan, method=replace(own, shards=shards))
        if self._reused is None:
            self.training = BudgetSampler(sampler.space, sampler.budgets, min_share=own.train_min_share)
            self.coverage = SupernetCoverage.of(
                self.training,
                resolution=plan.resolution,
                train_resolution=plan.train_resolution,
                seed=options.seed,
                epochs=own.epochs,
                strategy=own.strategy,
            )
        self._supernet = self._built(plan, seed=options.seed)
        return plan

    def describe(self, plan: Plan, options: SearchOptions, *, images: int) -> tuple[str, list[str]]:
        own, reused = plan.of(SupernetPlan), self._reused
        divided = f", each batch in {own.shards} shards" if own.shards > 1 else ""
        if self._inheritance is not None:
            first = f"Supernet from {self.options.parent}: {count(own.epochs, 'epoch')} of {images:,} images{divided}"
            lines = self._inheritance.describe(plan.of(ParentPlan), self._sampler)
            if options.space is None:
                lines.append("Space: parts of the parent, with its kinds of layers alone")
            return first, lines
        if reused is None:
            return f"Supernet: {count(own.epochs, 'epoch')} of {images:,} images, {own.strategy}{divided}", []
        budgets = [Budget.parse(text) for text in options.budgets]
        left_out = uncovered(self.coverage, budgets, options.min_share)
        first = f"Supernet: that of {reused.source_run} ({count(own.epochs, 'epoch')}, {own.strategy})"
        return first, [] if left_out is None else [left_out]

    def disk(self, plan: Plan, *, network: int) -> MethodDisk:
        """Returns the disk use: during training three checkpoints (older ones are deleted only after a new one is
        written), each with the optimizer's two moments, and the best weights; afterwards the last and best weights.
        """
        assert self._supernet is not None, "the supernet is built before its disk use is computed"
        weights, whole = (size_on_disk(self._supernet, moments=moments) for moments in (0, 2))
        if self._reused is not None:
            return MethodDisk(training=weights, kept=weights)
        if self._inheritance is None:
            return MethodDisk(training=3 * whole + weights, kept=2 * weights)
        own = plan.of(ParentPlan)
        parent, tuning = self._inheritance.disk(self._sampler, epochs=own.parent_epochs)
        learned = weights if own.layer_epochs else 0
        return MethodDisk(
            before={PHASE: tuning, **({LAYERS: parent + 3 * whole} if own.layer_epochs else {})},
            training=parent + 3 * whole + weights + learned,
            kept=parent + 2 * weights + learned,
        )

    def facts(self) -> dict[str, Any]:
        reused = None if self._reused is None else self._reused.to_dict()
        found = {"coverage": self.coverage.to_dict(), "reused": reused}
        return found if self._inheritance is None else {**found, "parent": self._inheritance.parent.facts()}

    def data_seed(self, seed: int) -> int:
        # The split that the supernet was trained with: another would score on images that it was trained on.
        return self.coverage.seed

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
        self.coverage = SupernetCoverage.from_dict(run.part("method", "coverage"), run.path)
        reused = run.part("method", "reused")
        if reused:
            self._reused = ReusedSupernet.from_dict(reused, self.coverage, run.path)
        if self.options.parent is not None:
            tuned = is_finished(run, PHASE) and newest(run.path / PHASE) is not None
            parent = planned_parent(run.part("method", "parent"), run.path, tuned=tuned)
            self._inheritance = self._begin_with(parent)
        self.training = self.coverage.sampler(space)
        self._sampler = CoveredSampler(space, budgets, min_share=options.min_share, coverage=self.coverage)
        return self._sampler

    def adapted(self, data: Dataset) -> Dataset:
        return data if self._inheritance is None else self._inheritance.adapted(data)

    def rivals(self, sampler: BudgetSampler) -> dict[str, Architecture]:
        return {} if self._inheritance is None else self._inheritance.rivals(sampler)

    # -- the search ----------------------------------------------------------------------------------------------

    def before(self, context: Context) -> None:
        """If the search begins with a parent, fine-tunes it, and teaches it to layers that it does not have."""
        found, run = self._inheritance, context.run
        if found is None:
            return
        plan = context.plan.of(ParentPlan)
        do_phase(run, PHASE, lambda: found.tune(context, epochs=plan.parent_epochs))
        if plan.layer_epochs and not is_finished(run, FOLDER):
            supernet = self._take_supernet(context).to(context.plan.device)
            members = TrainingMembers(self.training)
            do_phase(run, LAYERS, lambda: found.distil(context, supernet, members, plan=plan))

    def train(self, context: Context) -> Supernet:
        """Trains the supernet, from the run's last checkpoint if there is one, or loads another run's weights."""
        supernet = self._take_supernet(context).to(context.plan.device)
        recipe = context.plan.recipe(epochs=context.plan.of(SupernetPlan).epochs, seed=context.options.seed)
        if self._inheritance is not None:
            found, epochs = self._inheritance, context.plan.of(ParentPlan).parent_epochs
            if newest(context.run.path / FOLDER) is None:
                found.inherit(context, supernet, epochs=epochs)
                learned = newest(context.run.path / LAYERS)
                if learned is not None:
                    load_checkpoint(learned, supernet)
            else:
                supernet.kept_layers = found.kept_layers(context)
            teacher = found.member(context), found.tune(context, epochs=epochs)
            recipe = replace(recipe, learning_rate=INHERITED_RATE * recipe.learning_rate)
            train_supernet(context, supernet, self.training, recipe, teacher=teacher)
        elif self._reused is None:
            train_supernet(context, supernet, self.training, recipe)
        else:
            _fill(context, supernet, self._reused)
        return supernet

    def beginnings(self, context: Context, finalists: Sequence[Architecture]) -> Beginnings:
        if self._inheritance is None:
            return Beginnings()
        supernet = self._built(context.plan, seed=context.options.seed)
        epochs = context.plan.of(ParentPlan).parent_epochs
        return self._inheritance.beginnings(context, finalists, supernet, context.run.path / FOLDER, epochs=epochs)

    def scorer(self, context: Context, trained: Supernet) -> ScorerSource:
        plan, own, options = context.plan, context.plan.of(SupernetPlan), context.options
        return SupernetScoring(
            supernet=trained,
            data=context.data,
            recipe=plan.recipe(epochs=1, seed=options.seed),
            metric=self._metric(options.metric),
            recalibration_images=own.recalibration_images,
            validation_images=own.validation_images,
        )

    # -- nas rank ------------------------------------------------------------------------------------------------

    def check_ranking(self, settings: RankingSettings) -> None:
        check_run_given(settings, self.name, "a trained supernet")

    def ranked(self, task: RankingTask) -> RankedScorer:
        assert task.settings.supernet is not None, "checked before"
        assert task.space is not None, "checked before"
        return RankedScorer(make=self.scoring_of(task.settings.supernet, task.space, task.settings.data).make)

    def scoring_of(self, path: str | Path, space: SearchSpace, data: str | None = None) -> SupernetScoring:
        """Returns scoring with the supernet of a run, as in its search.

        Args:
            space: The loaded space, which must be the run's.
            data: Other images with the same classes, split as the run's were; None for the run's own.

        Raises:
            NasError: If there is no trained supernet, or its data are gone.
        """
        saved, reused = ReusedSupernet.find(path, space)
        plan, coverage = saved.plan(SupernetPlan), reused.coverage
        source = saved.source(data)
        check_same_classes(saved.run, source.info, data or saved.options.data)
        info = source.info
        space = saved.adapted(
            space, resolution=coverage.resolution, channels=info.channels, num_classes=info.num_classes
        )
        supernet = build_supernet(coverage.sampler(space), plan.train_resolution, seed=coverage.seed).to(plan.device)
        load_checkpoint(Path(reused.file), supernet)
        return SupernetScoring(
            supernet=supernet,
            data=source.load(resolution=coverage.train_resolution, seed=coverage.seed),
            recipe=plan.recipe(epochs=1, seed=coverage.seed),
            metric=self._metric(saved.options.metric),
            recalibration_images=plan.of(SupernetPlan).recalibration_images,
            validation_images=plan.of(SupernetPlan).validation_images,
        )

    # -- inside --------------------------------------------------------------------------------------------------

    def _begin_with(self, parent: Parent) -> Inheritance:
        options = self.options
        return Inheritance(parent, importance=options.importance, tuned=options.parent_is_tuned)

    def _shards(self, workers: int, images: int) -> int:
        """Returns the shards of a batch of so many images: those asked for, else as many as there are workers."""
        asked = self.options.shards
        return planned_shards(asked or workers or 1, images, given=asked is not None)

    def _metric(self, metric: str) -> str:
        """Returns the metric to measure with shared weights if finalists are compared by `metric`."""
        return "negative-loss" if self.options.scorer == "loss" else metric

    def _take_supernet(self, context: Context) -> Supernet:
        """Returns the supernet and drops this object's reference to it."""
        taken, self._supernet = self._supernet, None
        return taken or self._built(context.plan, seed=context.options.seed)

    def _built(self, plan: Plan, *, seed: int) -> Supernet:
        """Builds the supernet; parts of a parent may have any of its layers."""
        any_layers = self._inheritance is not None
        return build_supernet(self.training, plan.train_resolution, seed=seed, any_layers=any_layers)


def build_supernet(training: BudgetSampler, train_resolution: int, *, seed: int, any_layers: bool = False) -> Supernet:
    """Builds a supernet for all members of a sampler, at the training resolution."""
    space = training.space.adapted(resolution=train_resolution)
    return Supernet(space, seed=seed, choices=training.feasible_choices(), any_layers=any_layers)


def _fill(context: Context, supernet: Supernet, reused: ReusedSupernet) -> None:
    """Copies another run's weights into the run, once, and from there into the supernet."""
    folder = context.run.path / FOLDER
    if newest(folder) is None:
        source = Path(reused.file)
        if not source.is_file() or file_digest(source) != reused.sha256:
            raise RunError(
                f"The supernet of {reused.source_run} is gone or has changed before it was copied to "
                f"{context.run.path}: start a new run."
            )
        folder.mkdir(parents=True, exist_ok=True)
        link_or_copy(source, folder / source.name)
    if not context.run.events(SupernetReused):
        context.run.append(SupernetReused(run=reused.source_run, step=reused.step, sha256=reused.sha256))
    load_checkpoint(folder / Path(reused.file).name, supernet)
