"""Training blocks by ensemble bootstrapping: all cells side by side, or one block after the other.

BossNAS (Li et al. 2021, arXiv:2103.12424): paths of a block learn, without labels, to foretell from one view of an
image what the mean of them says of another view. Mended here: nothing flows back into earlier blocks, any space and
image size is taken, and every step follows from (seed, step), so that a training goes on where it was stopped.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import torch
from torch import nn

from nas.blockwise.losses import momentum_at
from nas.blockwise.network import BlockNet, BlockSupernet, Views
from nas.blockwise.views import random_view
from nas.data import Augment, Dataset
from nas.progress import Progress
from nas.space.blocks import Cell, Path
from nas.training import Recipe
from nas.training.lars import Lars
from nas.training.loop import TrainingLoop

_DECAY, _TRUST = 1e-6, 0.02

FixedEntry = Sequence[tuple[Cell, int]]
"""The paths, by cell and number, that lead to a cell."""


def bootstrapping_recipe(recipe: Recipe) -> Recipe:
    """The recipe for blocks: no augmentation of the batches (views are made of them), an epoch's warm-up."""
    return replace(
        recipe,
        learning_rate=0.3 * (recipe.batch_size / 256) ** 0.5,
        weight_decay=_DECAY,
        warmup=min(0.2, 1 / recipe.epochs),
        augment="none",
    )


class _Training:
    """What both ways of training share."""

    def __init__(
        self,
        supernet: BlockSupernet,
        trained: nn.Module,
        data: Dataset,
        recipe: Recipe,
        *,
        augment: Augment,
        paths: int,
        folder: FilePath | None,
        stream: str,
    ) -> None:
        self.supernet, self.recipe, self._paths, self._stream = supernet, recipe, paths, stream
        self._augment: Augment = augment
        learning = [p for p in trained.parameters() if p.requires_grad]
        self.loop = TrainingLoop(
            trained,
            data,
            recipe,
            self._step,
            folder=folder,
            after_step=self._follow,
            optimizer=Lars(learning, lr=recipe.learning_rate, weight_decay=_DECAY, trust=_TRUST),
        )

    def run(self, progress: Progress, on_curve: Callable[[dict[str, Any]], None]) -> None:
        """Trains to the end, or from the last checkpoint on.

        Args:
            on_curve: Receives {epoch, step, images, seconds, loss} after each epoch; again for one that was told of
                before the training was stopped.
        """
        self.loop.resume()
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
            net.follow(momentum_at(self.loop.done, self.loop.steps))

    def _views(self, images: torch.Tensor, step: int) -> Views:
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + step)
        first = random_view(images, generator, augment=self._augment)
        return first, random_view(images, generator, augment=self._augment)

    def _rng(self, step: int) -> random.Random:
        return random.Random(f"{self._stream}-{self.recipe.seed}-{step}")


class SideBySideTraining(_Training):
    """Trains all blocks at once, each on detached maps that sampled paths of the blocks before it made.

    A step visits one cell of each block: the one that has been visited least of those that can follow. Of the paths
    that are drawn there, the first one's maps are handed on to the next block.

    Args:
        augment: What views may do to images, as `random_view` has it.
        paths: Paths per cell and step; BossNAS takes four.
    """

    def __init__(
        self,
        supernet: BlockSupernet,
        data: Dataset,
        recipe: Recipe,
        *,
        augment: Augment,
        paths: int = 4,
        folder: FilePath | None = None,
    ) -> None:
        super().__init__(
            supernet, supernet, data, recipe, augment=augment, paths=paths, folder=folder, stream="side by side"
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
        views, cell = self._views(images, step), next(iter(blocks.cells))
        while cell is not None:
            visits[str(cell)] += 1
            following, paths = self._drawn(cell, visits, rng)
            loss, views = self.supernet.net(cell.block).learn(
                views, self.supernet.shapes[cell], paths, autocast=self.recipe.autocast()
            )
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
        augment: Augment,
        paths: int = 4,
        folder: FilePath | None = None,
    ) -> None:
        self.cell, self.entry = cell, entry
        net = supernet.net(cell.block)
        super().__init__(
            supernet, net, data, recipe, augment=augment, paths=paths, folder=folder, stream=f"block {cell.block + 1}"
        )

    def _trained(self) -> list[BlockNet]:
        return [self.supernet.net(self.cell.block)]

    def _step(self, images: torch.Tensor, labels: torch.Tensor, step: int) -> float:
        supernet, rng = self.supernet, self._rng(step)
        first, second = self._views(images, step)
        with self.recipe.autocast():
            views = run_entry(supernet, self.entry, first), run_entry(supernet, self.entry, second)
        every = supernet.blocks.cells[self.cell]
        paths = rng.sample(every, min(self._paths, len(every)))
        loss, _ = supernet.net(self.cell.block).learn(
            views, supernet.shapes[self.cell], paths, autocast=self.recipe.autocast()
        )
        return loss


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
