"""The phases of a block-wise search: blocks trained and their paths scored, then the best sums proposed in order."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.data import Dataset
from nas.errors import BudgetError, RunError, TrainingError
from nas.methods.blockwise.best_first import Range, best_first
from nas.methods.blockwise.blocks import Blocks, Cell, partition
from nas.methods.blockwise.bootstrapping import Bootstrapping, Heads, bootstrapping_recipe
from nas.methods.blockwise.cell_scorer import CellScorer, standardised
from nas.methods.blockwise.distillation import Distillation, Projections
from nas.methods.blockwise.network import BlockSupernet
from nas.methods.blockwise.target import Target
from nas.methods.blockwise.teacher import TrainedTeacher
from nas.methods.blockwise.training import SequentialTraining, SideBySideTraining
from nas.methods.protocol.context import Context
from nas.methods.protocol.plan import Plan
from nas.methods.supernet.phase import FOLDER
from nas.options import DISTILLING, SEQUENTIAL
from nas.run import RunRecord
from nas.run.events import CellScored, SupernetEpoch, TrialScored, UpdateCounts
from nas.sampling.budget_sampler import BudgetSampler
from nas.spaces import END
from nas.training import Recipe
from nas.training.checkpoint import load_checkpoint, newest
from nas.trial import Trial

ORIGIN = "dynamic-programme"
Distances = dict[Cell, list[float]]
"""Per cell, how far each of its paths is from the population's centre."""


def budget_blocks(sampler: BudgetSampler, *, seed: int) -> Blocks:
    """The blocks of a space, with the paths that some member under the bounds takes."""
    graph = sampler.costs.whole_graph
    ways = [
        (metric, bound, graph.spent(metric), graph.remaining(metric))
        for metric, bound in zip(sampler.metrics, sampler.bounds, strict=True)
    ]
    options: dict[Any, list[Any]] = {}
    alive = {END}
    for node in reversed(graph.nodes[:-1]):
        options[node] = [
            option
            for option in graph.options[node]
            if option.node in alive
            and all(spent[node] + getattr(option, m) + ahead[option.node] <= b for m, b, spent, ahead in ways)
        ]
        alive.update([node] if options[node] else [])
    cut = partition(sampler.space, graph.options, graph.nodes)
    return Blocks(sampler.space, options, graph.nodes, cut=cut, seed=seed)


def build_block_supernet(
    sampler: BudgetSampler, blocks: Blocks, plan: Plan, teacher: TrainedTeacher | None, *, seed: int
) -> BlockSupernet:
    """Fresh weights for all paths, at the resolution that networks are trained at."""
    if teacher is None:
        kind = Heads(hidden=plan.blocks["hidden"], features=plan.blocks["features"])
    else:
        kind = Projections(channels=teacher.channels)
    return BlockSupernet(sampler.space.adapted(resolution=plan.train_resolution), blocks, kind, seed=seed)


def block_target(data: Dataset, plan: Plan, teacher: TrainedTeacher | None) -> Target:
    """What blocks learn.

    Args:
        data: What they are trained on.
    """
    return Bootstrapping(plan.augment) if teacher is None else Distillation(teacher.ready(data, plan.device))


def describe_blocks(blocks: Blocks, plan: Plan) -> str:
    """What a block-wise search is about to train and score, in one line."""
    paths = sum(map(len, blocks.cells.values()))
    drawn = f" (where there are more than {blocks.most} from one state, so many are drawn)" if blocks.sampled else ""
    return (
        f"Blocks: {blocks.cut}, {len(blocks.cells)} cells of {paths:,} paths in all{drawn}; {plan.blocks['paths']} "
        f"paths a step; scored on {plan.validation_images} images"
    )


def train_blocks(
    context: Context, blocks: Blocks, make: Callable[[], BlockSupernet], teacher: TrainedTeacher | None
) -> Distances:
    """Trains and scores what the run has no scores of yet; goes on from the last checkpoint.

    Args:
        make: Gives fresh weights; called if anything is left to do.
    """
    work = _Work(context, blocks, make, teacher)
    return work.sequential() if context.plan.strategy == SEQUENTIAL else work.side_by_side()


def propose_best(context: Context, blocks: Blocks, distances: Mapping[Cell, Sequence[float]]) -> list[Trial]:
    """The architectures in range with the best sums of standardised scores, best first; returns all trials, in order.

    Raises:
        BudgetError: If no member in range is made of scored paths.
    """
    run, plan, sampler, progress = context.run, context.plan, context.sampler, context.progress
    scores = {cell: standardised(found) for cell, found in distances.items()}
    trials = run.trials()
    seen: set[Any] = set()
    progress.start("search", plan.trials, "networks")
    progress.advance(len(trials))
    began = time.monotonic()
    for found in best_first(blocks, scores, wanted_range(context)):
        if len(trials) >= plan.trials:
            break
        draw = sampler.drawn(found.options)
        if draw is None or draw.architecture in seen:
            continue
        seen.add(draw.architecture)
        if len(seen) <= len(trials):
            continue  # on record
        number = len(trials)
        trial = Trial(
            number=number,
            architecture=draw.architecture,
            cost=draw.cost,
            status="complete",
            score=found.score,
            seed=context.options.seed * 100_003 + number,
            seconds=time.monotonic() - began,
            layout=draw.layout,
            origin=ORIGIN,
            batch=number // plan.population,
        )
        run.append(TrialScored(trial=trial.to_dict()))
        trials.append(trial)
        began = time.monotonic()
        progress.advance(best=f"{trials[0].score or 0.0:.4f}", last=trial.layout)
    else:
        progress.note(f"The range holds no more networks: {len(trials)} were scored.")
    progress.finish()
    if not trials:
        raise BudgetError("No network in range is made of scored paths. Lower --aim.")
    return trials


def recorded(run: RunRecord, blocks: Blocks) -> Distances:
    """The cells that a run has scores of.

    Raises:
        RunError: If they are not those of these blocks.
    """
    events = {event.name: event.distances for event in run.events(CellScored)}
    named = {str(cell): cell for cell in blocks.cells}
    for name, found in events.items():
        if name not in named or len(found) != len(blocks.cells[named[name]]):
            raise RunError(f"{run.path} has scores of {name} that do not fit its space: start a new run.")
    return {named[name]: list(found) for name, found in events.items()}


def cell_scorer(
    supernet: BlockSupernet, target: Target, data: Dataset, recipe: Recipe, plan: Plan, *, seed: int
) -> CellScorer:
    """What measures the paths of cells as a plan has it.

    Args:
        data: Of its training images, those alone that the blocks are trained on.
    """
    return CellScorer(
        supernet,
        data,
        recipe,
        target=target,
        recalibration_images=plan.recalibration_images,
        validation_images=plan.validation_images,
        seed=seed,
    )


def blocks_data(data: Dataset, plan: Plan) -> Dataset:
    """The images that blocks are trained and scored on."""
    return replace(data, train=data.train.first(plan.blocks["images"]))


def blocks_recipe(plan: Plan, *, seed: int) -> Recipe:
    """How blocks are trained."""
    recipe = plan.recipe(epochs=plan.epochs, seed=seed)
    return recipe if plan.strategy == DISTILLING else bootstrapping_recipe(recipe)


def wanted_range(context: Context) -> Range:
    """The costs that proposals may have."""
    sampler = context.sampler
    return Range(metrics=sampler.metrics, bounds=sampler.bounds, aim=context.options.aim)


class _Work:
    """Training and scoring the cells of one run."""

    def __init__(
        self,
        context: Context,
        blocks: Blocks,
        make: Callable[[], BlockSupernet],
        teacher: TrainedTeacher | None,
    ) -> None:
        self.context, self.blocks, self._make = context, blocks, make
        plan = context.plan
        self.distances = recorded(context.run, blocks)
        self.folder: Path = context.run.path / FOLDER
        self.recipe = blocks_recipe(plan, seed=context.options.seed)
        self.data = blocks_data(context.data, plan)
        self.target = block_target(self.data, plan, teacher)
        self._told = {(event.block, event.epoch) for event in context.run.events(SupernetEpoch)}

    def side_by_side(self) -> Distances:
        """All blocks at once, then every cell scored."""
        left = [cell for cell in self.blocks.cells if cell not in self.distances]
        if left:
            supernet = self._supernet()
            training = SideBySideTraining(
                supernet,
                self.data,
                self.recipe,
                target=self.target,
                paths=self.context.plan.blocks["paths"],
                folder=self.folder,
            )
            training.run(self.context.progress, self._on_curve(None))
            if not self.context.run.events(UpdateCounts):
                self.context.run.append(UpdateCounts(counts=training.visits))
            self.context.progress.start("scoring", len(left), "cells")
            for cell in left:
                self._score(supernet, cell, None)
            self.context.progress.finish()
        return self.distances

    def sequential(self) -> Distances:
        """One block after the other, each on the best path so far that leaves a network in range."""
        supernet: BlockSupernet | None = None
        entry: list[tuple[Cell, int]] = []
        cell: Cell | None = next(iter(self.blocks.cells))
        while cell is not None:
            if cell not in self.distances:
                if supernet is None:
                    supernet = self._supernet()
                    for before, _ in entry:
                        self._restore(supernet, before.block)
                training = SequentialTraining(
                    supernet,
                    cell,
                    entry,
                    self.data,
                    self.recipe,
                    target=self.target,
                    paths=self.context.plan.blocks["paths"],
                    folder=self._block_folder(cell.block),
                )
                training.run(self.context.progress, self._on_curve(cell.block + 1))
                self._score(supernet, cell, entry)
            path = self._best(cell, entry)
            entry.append((cell, path))
            cell = self.blocks.entered(cell, self.blocks.cells[cell][path])
        return self.distances

    # -- inside -------------------------------------------------------------------------------------------------

    def _supernet(self) -> BlockSupernet:
        return self._make().to(self.context.plan.device)

    def _block_folder(self, block: int) -> Path:
        return self.folder / f"block-{block + 1}"

    def _restore(self, supernet: BlockSupernet, block: int) -> None:
        """Fills in the weights of a block that was trained in an earlier sitting."""
        folder = self._block_folder(block)
        path = newest(folder)
        if path is None:
            raise RunError(f"The weights of block {block + 1} are gone from {folder}: start a new run.")
        load_checkpoint(path, supernet.net(block))

    def _score(self, supernet: BlockSupernet, cell: Cell, entry: Sequence[tuple[Cell, int]] | None) -> None:
        plan, began = self.context.plan, time.monotonic()
        scorer = cell_scorer(supernet, self.target, self.data, self.recipe, plan, seed=self.context.options.seed)
        found = scorer.distances(cell, entry=entry)
        if not all(map(math.isfinite, found)):
            raise TrainingError(f"The distances of {cell} are not all finite. Try --dtype float32.")
        self.context.run.append(
            CellScored(
                name=str(cell),
                block=cell.block + 1,
                distances=found,
                seconds=time.monotonic() - began,
            )
        )
        self.distances[cell] = found
        self.context.progress.advance(last=str(cell))

    def _best(self, cell: Cell, entry: Sequence[tuple[Cell, int]]) -> int:
        """The path nearest to the centre with which, after those before it, a network in range can be made."""
        free = {each: [0.0] * len(paths) for each, paths in self.blocks.cells.items() if each.block > cell.block}
        distances = self.distances[cell]
        for path in sorted(range(len(distances)), key=lambda number: distances[number]):
            fixed = {
                before: [0.0 if number == taken else -math.inf for number in range(len(self.blocks.cells[before]))]
                for before, taken in (*entry, (cell, path))
            }
            if next(best_first(self.blocks, {**free, **fixed}, wanted_range(self.context)), None) is not None:
                return path
        raise BudgetError("The paths that were chosen so far leave no network in range. Lower --aim.")

    def _on_curve(self, block: int | None) -> Callable[[dict[str, Any]], None]:
        run, plan, progress = self.context.run, self.context.plan, self.context.progress

        def record(row: dict[str, Any]) -> None:
            if (block, row["epoch"]) not in self._told:
                run.append(SupernetEpoch(**row, block=block))
            where = f"block {block}, " if block else ""
            best = 0 if plan.strategy == DISTILLING else -4
            progress.note(
                f"Supernet, {where}epoch {row['epoch']} of {plan.epochs}: loss {row['loss']:.3f} (best: {best})"
            )

        return record
