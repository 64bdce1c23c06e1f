"""The training target of a block's paths, and the measurement of their distances to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from nas.methods.blockwise.blocks import Path
from nas.methods.blockwise.network import BlockNet, BlockWeights
from nas.ops import Shape
from nas.training import Recipe
from nas.training.evaluation import batch_norms, gathering_statistics

Maps = list[torch.Tensor]


class Batch(NamedTuple):
    """A batch during its pass through the blocks.

    Attributes:
        views: Input of the next block, one per view: images, or the output maps of a path.
        goals: The teacher's map per block; empty without a teacher.
    """

    views: tuple[torch.Tensor, ...]
    goals: tuple[torch.Tensor, ...] = ()


class Reader(NamedTuple):
    """One of the networks that a path is measured with.

    Attributes:
        weights: The network's weights.
        read: Returns the reading of a path from which its distance is computed. It takes the path's output maps of the
            images for BatchNorm statistics, those of the images to measure on, and the teacher's of the latter (empty
            without a teacher).
    """

    weights: BlockWeights
    read: Callable[[Maps, Maps, Maps], torch.Tensor]


class Target(Protocol):
    """A way to train blocks and to measure their paths."""

    def optimizer(self, trained: nn.Module, recipe: Recipe) -> torch.optim.Optimizer | None:
        """Returns the optimizer of the trained weights; None for the recipe's."""
        ...

    def batch(self, images: torch.Tensor, generator: torch.Generator) -> Batch:
        """Prepares a batch of images for training."""
        ...

    def learn(
        self,
        net: BlockNet,
        block: int,
        batch: Batch,
        shape: Shape,
        paths: Sequence[Path],
        *,
        autocast: AbstractContextManager[Any],
    ) -> tuple[float, Batch]:
        """Adds the gradients of some paths of one cell.

        Returns:
            The mean loss, and the batch with the first path's output maps, detached.
        """
        ...

    def follow(self, net: BlockNet, momentum: float) -> None:
        """Finishes a step after the optimizer's update; clears the gradients at least."""
        ...

    def goals(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Returns `Batch.goals` for images without augmentation."""
        ...

    def measured_views(self, images: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Returns the views of a batch of images on which paths are measured, in order."""
        ...

    def readers(self, net: BlockNet) -> list[Reader]:
        """Returns the networks that a path is measured with."""
        ...

    def distances(self, readings: Sequence[Sequence[torch.Tensor]], drawn: int) -> list[float]:
        """Returns the distance of each path to its target; lower is better.

        Args:
            readings: Per reader, the readings of all paths.
            drawn: Number of the cell's own paths, which come first; the others must not influence the target.
        """
        ...


def recalibrated(module: Any, known: Maps, asked: Maps) -> tuple[Maps, Maps]:
    """Passes both sets of maps through a module whose BatchNorm statistics are recalibrated on the first."""
    module.eval()
    with gathering_statistics(batch_norms(module)):
        known = [module(x) for x in known]
    return known, [module(x) for x in asked]
