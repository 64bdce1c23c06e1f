"""Training the blocks of a space: all cells side by side, or one block after the other.

What blocks learn is a `Target`: to agree with their own ensemble (BossNAS, Li et al. 2021, arXiv:2103.12424), for one.
Nothing flows back into earlier blocks, any space and image size is taken, and every step follows from (seed, step), so
that a training goes on where it was stopped.
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
"""The paths, by cell and number, that lead to a cell."""


class _Training:
    """What both ways of training share."""

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
        """Trains to the end, or from the last checkpoint on.

        Args:
            on_curve: Receives {epoch, step, images, seconds, loss} after each epoch; again for one received
                before the training was stopped.
        """
        self.loop.resume(progress)
        progress.start("supernet", self.loop.steps, "steps")
        progress.advance(self.loop.done)

        def on_epoch(epoch: int, loss: float, seconds: float) -> None:
            images = self.loop.done * self.recipe.batch_size
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
    """Trains all blocks at once, each on detached maps that sampled paths of the blocks before it made.

    A step visits one cell of each block: the one that has been visited least of those that can follow. Of the paths
    that are sampled there, the first one's maps are passed to the next block.

    Args:
        target: What they learn.
        paths: Paths per cell and step; BossNAS takes four.
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
        """How many steps each cell has taken part in."""
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
        """The cell to visit next, and paths of this one, the first of which leads there."""
        blocks, every = self.supernet.blocks, self.supernet.blocks.cells[cell]
        leading: dict[Cell | None, list[Path]] = {}
        for path in every:
            leading.setdefault(blocks.entered(cell, path), []).append(path)
        following = min(leading, key=lambda each: (visits[str(each)], rng.random()))
        first = rng.choice(leading[following])
        others = [path for path in every if path != first]
        return following, [first, *rng.sample(others, min(self._paths - 1, len(others)))]


class SequentialTraining(_Training):
    """Trains one cell, on what the best paths so far make of the images; only its block learns.

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
    """What paths of the earlier blocks make of images: the map that a cell starts from, without gradient.

    BatchNorm goes by the batch at hand, as it did while these blocks were trained.
    """
    for cell, number in entry:
        weights = supernet.net(cell.block).online
        weights.train()
        x = weights(x, supernet.blocks.cells[cell][number].pieces, supernet.shapes[cell])
    return x
