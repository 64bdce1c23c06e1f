"""Training of a space's blocks: all at once, or one after the other.

A `Target` defines what blocks learn, such as to agree with their own ensemble (BossNAS, Li et al. 2021,
arXiv:2103.12424). No gradients flow into earlier blocks, and any space and image size works. Every step depends only on
(seed, step), so that a stopped training can be resumed exactly.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath
from typing import Any

import torch
from torch import nn

from nas.data import Dataset
from nas.methods.blockwise.blocks import Cell, Path
from nas.methods.blockwise.losses import momentum_at
from nas.methods.blockwise.network import BlockNet, BlockSupernet
from nas.methods.blockwise.target import Batch, Target
from nas.progress import Progress
from nas.training import Recipe
from nas.training.loop import TrainingLoop

FixedEntry = Sequence[tuple[Cell, int]]
"""The paths that lead to a cell, each as its cell and index."""


class _Training:
    """The common part of both training strategies."""

    def __init__(
        self,
        supernet: BlockSupernet,
        trained: nn.Module,
        data: Dataset,
        recipe: Recipe,
        *,
        target: Target,
        paths: int,
        folder: FilePath | None,
        stream: str,
    ) -> None:
        self.supernet, self.recipe, self.target, self._paths, self._stream = supernet, recipe, target, paths, stream
        self._images = min(recipe.batch_size, len(data.train))
        self.loop = TrainingLoop(
            trained,
            data,
            recipe,
            self._step,
            folder=folder,
            after_step=self._follow,
            optimizer=target.optimizer(trained, recipe),
        )

    def run(self, progress: Progress, on_curve: Callable[[dict[str, Any]], None]) -> None:
        """Trains to the end, from the last checkpoint if there is one.

        Args:
            on_curve: Receives {epoch, step, images, seconds, loss} after each epoch; after a resume, epochs since the
                checkpoint are received again.
        """
        self.loop.resume(progress)
        progress.start("supernet", self.loop.steps, "steps")
        progress.advance(self.loop.done, restored=True)

        def on_epoch(epoch: int, loss: float, seconds: float) -> None:
            images = self.loop.done * self._images
            on_curve({"epoch": epoch, "step": self.loop.done, "images": images, "seconds": seconds, "loss": loss})

        self.loop.run(progress, on_epoch)
        progress.finish()

    def _step(self, images: torch.Tensor, labels: torch.Tensor, step: int) -> float:
        raise NotImplementedError

    def _trained(self) -> list[BlockNet]:
        raise NotImplementedError

    def _follow(self) -> None:
        # The loop has not counted the step yet.
        for net in self._trained():
            self.target.follow(net, momentum_at(self.loop.done, self.loop.steps))

    def _batch(self, images: torch.Tensor, step: int) -> Batch:
        return self.target.batch(images, torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + step))

    def _learn(self, cell: Cell, batch: Batch, paths: Sequence[Path]) -> tuple[float, Batch]:
        supernet, autocast = self.supernet, self.recipe.autocast()
        net = supernet.net(cell.block)
        return self.target.learn(net, cell.block, batch, supernet.shapes[cell], paths, autocast=autocast)

    def _rng(self, step: int) -> random.Random:
        return random.Random(f"{self._stream}-{self.recipe.seed}-{step}")


class SideBySideTraining(_Training):
    """Trains all blocks at once, each on detached output maps of sampled paths of the previous block.

    A step visits one cell of each block: the least visited of those that can follow. The maps of the first path sampled
    there are passed to the next block.

    Args:
        target: The training target.
        paths: Paths per cell and step; BossNAS uses four.
    """

    def __init__(
        self,
        supernet: BlockSupernet,
        data: Dataset,
        recipe: Recipe,
        *,
        target: Target,
        paths: int = 4,
        folder: FilePath | None = None,
    ) -> None:
        super().__init__(
            supernet, supernet, data, recipe, target=target, paths=paths, folder=folder, stream="side by side"
        )

    @property
    def visits(self) -> dict[str, int]:
        """Number of training steps per cell."""
        return dict(self.loop.facts.get("visits", {}))

    def _trained(self) -> list[BlockNet]:
        return [self.supernet.net(block) for block in range(self.supernet.blocks.count)]

    def _step(self, images: torch.Tensor, labels: torch.Tensor, step: int) -> float:
        blocks, rng = self.supernet.blocks, self._rng(step)
        visits, total = Counter(self.visits), 0.0
        batch, cell = self._batch(images, step), next(iter(blocks.cells))
        while cell is not None:
            visits[str(cell)] += 1
            following, paths = self._drawn(cell, visits, rng)
            loss, batch = self._learn(cell, batch, paths)
            total += loss / blocks.count
            cell = following
        self.loop.facts["visits"] = dict(visits)
        return total

    def _drawn(self, cell: Cell, visits: Counter[str], rng: random.Random) -> tuple[Cell | None, list[Path]]:
        """Samples the cell to visit next, and paths of this cell, the first of which leads there."""
        blocks, every = self.supernet.blocks, self.supernet.blocks.cells[cell]
        leading: dict[Cell | None, list[Path]] = {}
        for path in every:
            leading.setdefault(blocks.entered(cell, path), []).append(path)
        following = min(leading, key=lambda each: (visits[str(each)], rng.random()))
        first = rng.choice(leading[following])
        others = [path for path in every if path != first]
        return following, [first, *rng.sample(others, min(self._paths - 1, len(others)))]


class SequentialTraining(_Training):
    """Trains one cell on the output maps of the best paths so far; only its block is trained.

    Args:
        entry: The paths that lead to the cell.
    """

    def __init__(
        self,
        supernet: BlockSupernet,
        cell: Cell,
        entry: FixedEntry,
        data: Dataset,
        recipe: Recipe,
        *,
        target: Target,
        paths: int = 4,
        folder: FilePath | None = None,
    ) -> None:
        self.cell, self.entry = cell, entry
        net = supernet.net(cell.block)
        super().__init__(
            supernet, net, data, recipe, target=target, paths=paths, folder=folder, stream=f"block {cell.block + 1}"
        )

    def _trained(self) -> list[BlockNet]:
        return [self.supernet.net(self.cell.block)]

    def _step(self, images: torch.Tensor, labels: torch.Tensor, step: int) -> float:
        supernet, rng = self.supernet, self._rng(step)
        batch = self._batch(images, step)
        with self.recipe.autocast():
            views = tuple(run_entry(supernet, self.entry, view) for view in batch.views)
        every = supernet.blocks.cells[self.cell]
        paths = rng.sample(every, min(self._paths, len(every)))
        return self._learn(self.cell, batch._replace(views=views), paths)[0]


@torch.no_grad()
def run_entry(supernet: BlockSupernet, entry: FixedEntry, x: torch.Tensor) -> torch.Tensor:
    """Runs images through paths of the earlier blocks, without gradients; returns the input map of a cell.

    BatchNorm uses batch statistics, as in the training of these blocks.
    """
    for cell, number in entry:
        weights = supernet.net(cell.block).online
        weights.train()
        x = weights(x, supernet.blocks.cells[cell][number].pieces, supernet.shapes[cell])
    return x
