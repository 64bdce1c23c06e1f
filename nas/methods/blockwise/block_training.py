"""Training of a run's blocks, and scoring of the paths through them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nas.data import Dataset
from nas.errors import BudgetError, RunError, TrainingError
from nas.methods.blockwise.best_first import best_first
from nas.methods.blockwise.blocks import Blocks, Cell
from nas.methods.blockwise.bootstrapping import Bootstrapping, PublishedBootstrapping, bootstrapping_recipe
from nas.methods.blockwise.cell_scorer import CellScorer
from nas.methods.blockwise.distillation import Distillation
from nas.methods.blockwise.network import BlockSupernet
from nas.methods.blockwise.options import BOSSNAS, STANDARDIZED
from nas.methods.blockwise.target import Target
from nas.methods.blockwise.teacher import TrainedTeacher
from nas.methods.blockwise.training import SequentialTraining, SideBySideTraining
from nas.methods.protocol.context import Context
from nas.methods.protocol.plan import MethodPlan, Plan
from nas.run import RunRecord
from nas.run.events import CellScored, SupernetEpoch, UpdateCounts
from nas.training import Recipe
from nas.training.checkpoint import load_checkpoint, newest

FOLDER = "supernet"
Distances = dict[Cell, list[float]]
"""Per cell, the distance of each path to the population's center, or to the teacher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockwisePlan(MethodPlan):
    """The plan of a block-wise search.

    Attributes:
        epochs: Training epochs of each block.
        paths: Paths sampled per cell and training step.
        images: Number of training images.
        hidden, features: Widths of projector and predictor; 0 with a teacher.
        teacher: Its `path`, and the digests of its `architecture` and of its weights, `sha256`; empty without one.
        path_score: How paths are scored, as in the option.
    """

    epochs: int
    strategy: str
    paths: int
    images: int
    hidden: int
    features: int
    recalibration_images: int
    validation_images: int
    teacher: dict[str, str] = field(default_factory=dict[str, str])
    path_score: str = STANDARDIZED


def block_target(data: Dataset, plan: Plan, teacher: TrainedTeacher | None) -> Target:
    """Returns the training target of blocks, which also measures their paths.

    Args:
        data: The data that the blocks are trained on.
    """
    if teacher is not None:
        return Distillation(teacher.ready(data, plan.device))
    kind = PublishedBootstrapping if plan.of(BlockwisePlan).path_score == BOSSNAS else Bootstrapping
    return kind(plan.augment)


def recorded(run: RunRecord, blocks: Blocks) -> Distances:
    """Returns the recorded distances of a run by cell.

    Raises:
        RunError: If the cells are not those of these blocks.
    """
    events = {event.name: event.distances for event in run.events(CellScored)}
    named = {str(cell): cell for cell in blocks.cells}
    for name, found in events.items():
        if name not in named or len(found) != len(blocks.cells[named[name]]):
            raise RunError(f"{run.path} has scores of {name} that do not fit its space: start a new run.")
    return {named[name]: list(found) for name, found in events.items()}


def cell_scorer(
    supernet: BlockSupernet, target: Target, data: Dataset, recipe: Recipe, own: BlockwisePlan, *, seed: int
) -> CellScorer:
    """Returns the scorer of cells for a plan.

    Args:
        data: The data, with only those training images that the blocks are trained on.
    """
    return CellScorer(
        supernet,
        data,
        recipe,
        target=target,
        recalibration_images=own.recalibration_images,
        validation_images=own.validation_images,
        seed=seed,
    )


def blocks_data(data: Dataset, own: BlockwisePlan) -> Dataset:
    """Returns the data that blocks are trained and scored on."""
    return replace(data, train=data.train.first(own.images))


def blocks_recipe(plan: Plan, *, seed: int) -> Recipe:
    """Returns the training recipe of blocks."""
    own = plan.of(BlockwisePlan)
    recipe = plan.recipe(epochs=own.epochs, seed=seed)
    return recipe if own.teacher else bootstrapping_recipe(recipe)


class BlockTraining:
    """Trains and scores the cells of one run that have no scores yet, from the last checkpoint on."""

    def __init__(
        self,
        context: Context,
        blocks: Blocks,
        make: Callable[[], BlockSupernet],
        teacher: TrainedTeacher | None,
    ) -> None:
        self.context, self.blocks, self._make = context, blocks, make
        own = context.plan.of(BlockwisePlan)
        self.distances = recorded(context.run, blocks)
        self.folder: Path = context.run.path / FOLDER
        self.recipe = blocks_recipe(context.plan, seed=context.options.seed)
        self.data = blocks_data(context.data, own)
        self.target = block_target(self.data, context.plan, teacher)
        self._recorded = {(event.block, event.epoch) for event in context.run.events(SupernetEpoch)}

    def side_by_side(self) -> Distances:
        """Trains all blocks at once, then scores every cell."""
        left = [cell for cell in self.blocks.cells if cell not in self.distances]
        if left:
            supernet = self._supernet()
            training = SideBySideTraining(
                supernet,
                self.data,
                self.recipe,
                target=self.target,
                paths=self.context.plan.of(BlockwisePlan).paths,
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
        """Trains one block after the other, each on the best path so far that can lead to a feasible network."""
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
                    paths=self.context.plan.of(BlockwisePlan).paths,
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
        """Loads the weights of a block that was trained in an earlier session."""
        folder = self._block_folder(block)
        path = newest(folder)
        if path is None:
            raise RunError(f"The weights of block {block + 1} are gone from {folder}: start a new run.")
        load_checkpoint(path, supernet.net(block))

    def _score(self, supernet: BlockSupernet, cell: Cell, entry: Sequence[tuple[Cell, int]] | None) -> None:
        own, began = self.context.plan.of(BlockwisePlan), time.monotonic()
        scorer = cell_scorer(supernet, self.target, self.data, self.recipe, own, seed=self.context.options.seed)
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
        """Returns the path nearest to the center that, after the given ones, can lead to a feasible network."""
        free = {each: [0.0] * len(paths) for each, paths in self.blocks.cells.items() if each.block > cell.block}
        distances = self.distances[cell]
        for path in sorted(range(len(distances)), key=lambda number: distances[number]):
            fixed = {
                before: [0.0 if number == taken else -math.inf for number in range(len(self.blocks.cells[before]))]
                for before, taken in (*entry, (cell, path))
            }
            if next(best_first(self.blocks, {**free, **fixed}, self.context.sampler.counted), None) is not None:
                return path
        raise BudgetError("The paths that were chosen so far leave no feasible network. Lower --min-share.")

    def _on_curve(self, block: int | None) -> Callable[[dict[str, Any]], None]:
        run, own, progress = self.context.run, self.context.plan.of(BlockwisePlan), self.context.progress

        def record(row: dict[str, Any]) -> None:
            if (block, row["epoch"]) not in self._recorded:
                run.append(SupernetEpoch(**row, block=block))
            where = f"block {block}, " if block else ""
            best = 0 if own.teacher else -4
            progress.note(
                f"Supernet, {where}epoch {row['epoch']} of {own.epochs}: loss {row['loss']:.3f} (best: {best})"
            )

        return record
