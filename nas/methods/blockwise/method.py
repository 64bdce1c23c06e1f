"""The method `blockwise`: trains blocks and scores their paths separately, then finds the best sums exactly.

After BossNAS (Li et al. 2021, arXiv:2103.12424) and, with a teacher, DNA (Li et al. 2020, arXiv:1911.13053);
docs/decisions/0007-blockwise.md lists the differences.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import mean
from typing import Any

from nas.budget import Budget
from nas.errors import BudgetError, OptionError, RunError
from nas.formats import count
from nas.jobs.backend import ScorerSource
from nas.methods.blockwise.best_first import best_first
from nas.methods.blockwise.block_training import (
    FOLDER,
    BlockTraining,
    BlockwisePlan,
    Distances,
    block_target,
    blocks_data,
    blocks_recipe,
    cell_scorer,
    recorded,
)
from nas.methods.blockwise.blocks import Blocks, Cell, partition
from nas.methods.blockwise.bootstrapping import Heads
from nas.methods.blockwise.cell_scorer import BATCH, CellScorer, path_scores
from nas.methods.blockwise.distillation import Projections
from nas.methods.blockwise.member_scorer import MemberScorer
from nas.methods.blockwise.network import BlockSupernet
from nas.methods.blockwise.options import BOSSNAS, SEQUENTIAL, BlockwiseOptions
from nas.methods.blockwise.teacher import TrainedTeacher, planned_teacher
from nas.methods.protocol.context import Context
from nas.methods.protocol.manifest import check_data, resolved_data
from nas.methods.protocol.plan import TRAINING_SHARE, Plan, Planned, Workload, within
from nas.methods.protocol.ranking import RankingSettings, RankingTask
from nas.methods.protocol.saved_run import SavedRun, check_run_given
from nas.methods.protocol.search_method import MethodDisk, RankedScorer, SearchMethod
from nas.options import SearchOptions
from nas.run import RunRecord
from nas.run.events import TrialScored
from nas.sampling import BudgetSampler, Member
from nas.spaces import END, SearchSpace
from nas.training.checkpoint import load_checkpoint, newest, size_on_disk
from nas.trial import Trial, trial_seed

ORIGIN, PRESET = "dynamic-programme", "preset"
MOST_REJECTED = 20_000
"""So many of the next best networks may be refused one after the other, by measured budgets or as too small."""
_NOT_SCORED = "One of its paths was not among those that its block scored."
_PATHS, _LEAST_IMAGES = 4, 2000
"""Paths per cell and step, as in BossNAS for HyTra; the least number of training images."""


class BlockwiseMethod(SearchMethod[BlockwiseOptions]):
    """Scores the paths through each block of a space, and proposes the architectures with the best sums."""

    phase = FOLDER
    training_share = TRAINING_SHARE
    plan_type = BlockwisePlan
    free_scores = True
    blocks: Blocks

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self._teacher: TrainedTeacher | None = None
        self._supernet: BlockSupernet | None = None

    # -- before the search ---------------------------------------------------------------------------------------

    def set_up(self, space: SearchSpace, budgets: Sequence[Budget], options: SearchOptions) -> BudgetSampler:
        sampler = super().set_up(space, budgets, options)
        self.blocks = budget_blocks(sampler, seed=options.seed)
        return sampler

    def plan(self, workload: Workload) -> Planned:
        """Plans the epochs of each block; if not even one is affordable, one epoch of fewer images."""
        own = self.options
        gpu, images, rate = workload.gpu, workload.images, workload.rate
        held_out = min(5000, workload.held_out)
        recalibration, validation = (512, min(2048, held_out)) if gpu else (256, min(512, held_out))
        validation = validation // BATCH * BATCH or validation  # whole batches alone are scored
        # Two views of every path, forward and backward, and forward only in the target network: 2 x (3 + 1) forward
        # passes per block, and their heads; `rate` counts three. A teacher needs one forward pass of one view.
        distils = own.teacher is not None
        # The heads of the original are sized for maps of 2,048 channels on GPUs.
        heads = Heads(hidden=0, features=0) if distils else Heads(hidden=4096 if gpu else 1024, features=256)
        passes = (3 * _PATHS + 1) / 3 if distils else 2 * _PATHS * (4 + self._heads_passes(heads, workload.macs)) / 3
        scored = self.blocks.networks * (recalibration + validation) / 3
        if own.path_score == BOSSNAS:
            scored *= 4  # two views, each by the online and the target network
        affordable = workload.affordable / (passes * images)
        epochs = own.epochs or within(round(affordable), 1, 60)
        fewer = min(images, max(_LEAST_IMAGES, round(affordable * images)))
        used = images if own.epochs or affordable >= 1 else fewer
        return Planned(
            own=BlockwisePlan(
                epochs=epochs,
                strategy=own.strategy,
                paths=_PATHS,
                images=used,
                hidden=heads.hidden,
                features=heads.features,
                recalibration_images=recalibration,
                validation_images=validation,
                path_score=own.path_score,
            ),
            # The cost of scoring all paths, in average networks.
            training_seconds=(epochs * passes * used + scored) / rate,
            trial_seconds=0.01,
            trials=200,
        )

    def prepare(self, plan: Plan, options: SearchOptions, sampler: BudgetSampler) -> Plan:
        if self.options.teacher is not None:
            size = plan.train_resolution
            self._teacher = TrainedTeacher(self.options.teacher, sampler.space, self.blocks, train_resolution=size)
            plan = replace(plan, method=replace(plan.of(BlockwisePlan), teacher=self._teacher.facts))
        self._supernet = self._build(sampler, plan, seed=options.seed)
        return plan

    def describe(self, plan: Plan, options: SearchOptions, *, images: int) -> tuple[str, list[str]]:
        own, blocks = plan.of(BlockwisePlan), self.blocks
        paths = sum(map(len, blocks.cells.values()))
        sampled = f" (at most {blocks.most} are sampled per state)" if blocks.sampled else ""
        line = (
            f"Blocks: {blocks.cut}, {len(blocks.cells)} cells of {paths:,} paths in all{sampled}; {own.paths} paths a "
            f"step; scored on {own.validation_images} images"
        )
        by = f" from {own.teacher['path']} (weights {own.teacher['sha256'][:16]})" if own.teacher else ""
        first = f"Blocks: {count(own.epochs, 'epoch')} of {min(images, own.images):,} images, {own.strategy}{by}"
        alone = ["Blocks train in this process alone; workers train the finalists and export"]
        return first, [line, *alone * bool(options.workers or options.ray)]

    def disk(self, plan: Plan, *, network: int) -> MethodDisk:
        """Returns the disk use: up to three checkpoints, with one optimizer moment unless there is a teacher; no best
        weights are stored.
        """
        assert self._supernet is not None, "the blocks are built before their disk use is computed"
        moments = 2 if plan.of(BlockwisePlan).teacher else 1
        weights, whole = (size_on_disk(self._supernet, moments=count) for count in (0, moments))
        return MethodDisk(training=3 * whole, kept=weights)

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
        sampler = super().restore(run, plan, options, space, budgets, trained=trained)
        own = plan.of(BlockwisePlan)
        if own.teacher and not trained:
            self._teacher = planned_teacher(own.teacher, plan.train_resolution, space, self.blocks, run.path)
        return sampler

    # -- the search ----------------------------------------------------------------------------------------------

    def train(self, context: Context) -> Distances:
        training = BlockTraining(context, self.blocks, lambda: self._take_supernet(context), self._teacher)
        sequential = context.plan.of(BlockwisePlan).strategy == SEQUENTIAL
        return training.sequential() if sequential else training.side_by_side()

    def search(self, context: Context, trained: Distances, score: Callable[[ScorerSource], list[Trial]]) -> list[Trial]:
        """Proposes the architectures with the best sums, in order; their scores are known already."""
        return propose_best(context, self.blocks, trained)

    # -- nas rank ------------------------------------------------------------------------------------------------

    def check_ranking(self, settings: RankingSettings) -> None:
        check_run_given(settings, self.name, "trained blocks")

    def ranked(self, task: RankingTask) -> RankedScorer:
        path = task.settings.supernet
        assert path is not None, "checked before"
        assert task.space is not None, "checked before"
        members = self.member_scorer_of(path, task.space, task.settings.data)
        measured = members.prepare(task.architectures)
        return RankedScorer(make=lambda: members, notes=[f"{measured} paths were measured that {path} had not scored"])

    def member_scorer_of(self, path: str, space: SearchSpace, data: str | None = None) -> MemberScorer:
        """Returns scoring with the blocks of a run, as in its search and with its own images.

        Args:
            space: The loaded space, which must be the run's.
            data: The run's own data or None, since most scores are on record for these images only.

        Raises:
            NasError: If it did not train and score all cells of its blocks in parallel, or if `data` are others.
        """
        saved = SavedRun.open(path, space, self.name)
        run, plan, options = saved.run, saved.plan(BlockwisePlan), saved.options
        own, seed = plan.of(BlockwisePlan), options.seed
        if own.strategy == SEQUENTIAL:
            raise RunError(
                f"--supernet {path}: --strategy {own.strategy} scored only paths along the best one so far. Give a run "
                f"by --method {self.name} without it."
            )
        if data is not None and resolved_data(data) != resolved_data(options.data):
            raise OptionError(
                f"--data {data}: the blocks of {path} were scored on {options.data}, and their scores hold only for "
                "those images. Leave out --data, or rank the other methods separately."
            )
        described = run.manifest.get("data", {})
        space = saved.adapted(
            space,
            resolution=plan.resolution,
            channels=described.get("channels"),
            num_classes=described.get("num_classes"),
        )
        sampler = BudgetSampler(space, [Budget.parse(text) for text in options.budgets], min_share=options.min_share)
        blocks = self.blocks = budget_blocks(sampler, seed=seed)
        distances, file = recorded(run, blocks), newest(run.path / FOLDER)
        if file is None or len(distances) < len(blocks.cells):
            raise RunError(
                f"--supernet {path}: its blocks are not all trained and scored. Finish it with nas-search --resume "
                f"{path}."
            )

        def open_cells() -> CellScorer:
            source = saved.source()
            check_data(run, source.info, options.data)
            if own.teacher:
                self._teacher = planned_teacher(own.teacher, plan.train_resolution, space, blocks, run.path)
            supernet = self._build(sampler, plan, seed=seed).to(plan.device)
            load_checkpoint(file, supernet)
            images = blocks_data(source.load(resolution=plan.train_resolution, seed=seed), own)
            recipe = blocks_recipe(plan, seed=seed)
            target = block_target(images, plan, self._teacher)
            return cell_scorer(supernet, target, images, recipe, own, seed=seed)

        return MemberScorer(blocks, distances, open_cells, path_score=own.path_score)

    # -- inside --------------------------------------------------------------------------------------------------

    def _heads_passes(self, heads: Heads, macs: float) -> float:
        """Returns what the heads of all blocks cost for one path and view, in forward passes of a typical network."""
        trained, followed = heads.macs(mean(path.width for paths in self.blocks.cells.values() for path in paths))
        return self.blocks.count * (3 * trained + followed) / macs

    def _build(self, sampler: BudgetSampler, plan: Plan, *, seed: int) -> BlockSupernet:
        """Builds the shared weights of all paths, at the training resolution."""
        own = plan.of(BlockwisePlan)
        if self._teacher is None:
            kind = Heads(hidden=own.hidden, features=own.features)
        else:
            kind = Projections(channels=self._teacher.channels)
        return BlockSupernet(sampler.space.adapted(resolution=plan.train_resolution), self.blocks, kind, seed=seed)

    def _take_supernet(self, context: Context) -> BlockSupernet:
        """Returns the weights and drops this object's reference to them."""
        taken, self._supernet = self._supernet, None
        return taken or self._build(context.sampler, context.plan, seed=context.options.seed)


def budget_blocks(sampler: BudgetSampler, *, seed: int) -> Blocks:
    """Returns the blocks of a space, with the paths of members within the bounds."""
    graph = sampler.costs.whole_graph
    within_bounds = sampler.counted.options_within(graph)
    options: dict[Any, list[Any]] = {}
    alive = {END}
    for node in reversed(graph.nodes[:-1]):
        options[node] = [option for option in within_bounds[node] if option.node in alive]
        alive.update([node] if options[node] else [])
    cut = partition(sampler.space, graph.options, graph.nodes)
    return Blocks(sampler.space, options, graph.nodes, cut=cut, seed=seed)


def propose_best(context: Context, blocks: Blocks, distances: Mapping[Cell, Sequence[float]]) -> list[Trial]:
    """Records the presets, then the feasible architectures with the best sums of path scores, best first.

    A preset whose paths were not all scored is recorded without a score.

    Returns:
        All trials, in order.

    Raises:
        BudgetError: If no feasible member consists of scored paths.
    """
    plan, progress = context.plan, context.progress
    found = _Found(context)
    progress.start("search", plan.trials, "networks")
    progress.advance(len(found.trials), restored=True)
    scorer = MemberScorer(blocks, distances, _no_cells, path_score=plan.of(BlockwisePlan).path_score)
    for preset in context.presets[: plan.trials - 1]:
        member = context.sampler.member(context.space.encode(preset))
        if member is not None:
            found.record(member, scorer.known_score(preset), PRESET)
    rejected = 0
    scores = {cell: path_scores(plan.of(BlockwisePlan).path_score, each) for cell, each in distances.items()}
    for best in best_first(blocks, scores, context.sampler.counted):
        if len(found.trials) >= plan.trials or rejected >= MOST_REJECTED:
            break
        member = context.sampler.member_of(best.options)
        rejected = rejected + 1 if member is None else 0
        if member is not None:
            found.record(member, best.score, ORIGIN)
    if len(found.trials) < plan.trials:
        refused = f"the next best {MOST_REJECTED:,} exceed a measured budget, or use too little of it (--min-share)"
        why = refused if rejected >= MOST_REJECTED else "no more are feasible"
        progress.note(f"{count(len(found.trials), 'network')} scored: {why}.")
    progress.finish()
    if not any(trial.complete for trial in found.trials):
        raise BudgetError(
            f"The best {MOST_REJECTED:,} networks of scored paths are infeasible. Raise --budget or lower --min-share."
            if rejected >= MOST_REJECTED
            else "No feasible network consists of scored paths. Lower --min-share."
        )
    return found.trials


class _Found:
    """The trials of a search, those on record first.

    Attributes:
        trials: All, in order.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.trials = context.run.trials()
        self._known = {trial.architecture for trial in self.trials}
        self._began = time.monotonic()

    def record(self, member: Member, score: float | None, origin: str) -> None:
        """Records a member as a trial, unless it is one."""
        if member.architecture in self._known:
            return
        self._known.add(member.architecture)
        context, number = self._context, len(self.trials)
        trial = Trial(
            number=number,
            architecture=member.architecture,
            cost=member.cost,
            status="failed" if score is None else "complete",
            score=score,
            seed=trial_seed(context.options.seed, number),
            seconds=time.monotonic() - self._began,
            error=_NOT_SCORED if score is None else None,
            layout=member.layout,
            origin=origin,
            batch=number // context.plan.population,
        )
        context.run.append(TrialScored(trial=trial.to_dict()))
        self.trials.append(trial)
        self._began = time.monotonic()
        best = max((each.score for each in self.trials if each.score is not None), default=0.0)
        context.progress.advance(best=f"{best:.4f}", last=trial.layout)


def _no_cells() -> CellScorer:
    raise AssertionError("scores on record alone are asked for")
