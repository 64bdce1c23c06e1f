"""What the paths of a block are taught to give, and by what they are measured."""

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
    """A batch on its way through the blocks.

    Attributes:
        views: What the next block starts from: images, or maps that a path made of them, one per view.
        goals: Per block, what a teacher makes of the images; empty without one.
    """

    views: tuple[torch.Tensor, ...]
    goals: tuple[torch.Tensor, ...] = ()


class Reader(NamedTuple):
    """One of the networks that a path is measured with.

    Attributes:
        weights: The network's.
        read: Returns what is to be known of a path for its distance. It takes the maps that the path makes of the
            images for BatchNorm's statistics, those of the images to measure on, and a teacher's of the latter (empty
            without one).
    """

    weights: BlockWeights
    read: Callable[[Maps, Maps, Maps], torch.Tensor]


class Target(Protocol):
    """A way to teach blocks and to measure their paths."""

    def optimizer(self, trained: nn.Module, recipe: Recipe) -> torch.optim.Optimizer | None:
        """Of the weights that learn; None is the recipe's."""
        ...

    def batch(self, images: torch.Tensor, generator: torch.Generator) -> Batch:
        """What training makes of a batch of images."""
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
            The mean loss, and the batch with the maps that the first path made, detached.
        """
        ...

    def follow(self, net: BlockNet, momentum: float) -> None:
        """What is left to do once the optimizer has moved the weights: forgets the gradients, at least."""
        ...

    def goals(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """As `Batch.goals`, for images as they are."""
        ...

    def measured_views(self, images: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        """What paths are measured on instead of a batch of images; one after another where there are several."""
        ...

    def readers(self, net: BlockNet) -> list[Reader]:
        """The networks that a path is measured with."""
        ...

    def distances(self, readings: Sequence[Sequence[torch.Tensor]], drawn: int) -> list[float]:
        """Returns how far each path is from what it should give; lower is better.

        Args:
            readings: Per reader, one of every path.
            drawn: So many of the paths, the first, are the cell's own; others must not change anything.
        """
        ...


def recalibrated(module: Any, known: Maps, asked: Maps) -> tuple[Maps, Maps]:
    """Both sets of maps through a module whose BatchNorm statistics are made on the first."""
    module.eval()
    with gathering_statistics(batch_norms(module)):
        known = [module(x) for x in known]
    return known, [module(x) for x in asked]
