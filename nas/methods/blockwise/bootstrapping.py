"""Ensemble bootstrapping (BossNAS, Li et al. 2021, arXiv:2103.12424): a block's paths learn to predict their mean.

Each block has two copies of its shared weights: an online network that is trained, and a target that is its moving
average.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nas.data import Augment
from nas.methods.blockwise.blocks import Path
from nas.methods.blockwise.losses import bootstrapping_loss, ensemble
from nas.methods.blockwise.network import BlockNet, BlockWeights
from nas.methods.blockwise.target import Batch, Maps, Reader, recalibrated
from nas.methods.blockwise.views import random_view
from nas.networks.weight_decay import decay_groups
from nas.ops import Shape
from nas.spaces import SearchSpace
from nas.training import Recipe
from nas.training.device import in_float64
from nas.training.lars import Lars

_DECAY, _TRUST = 1e-6, 0.02

Views = tuple[torch.Tensor, torch.Tensor]


def bootstrapping_recipe(recipe: Recipe) -> Recipe:
    """Returns the recipe for blocks: no augmentation of batches (views are made of them), one epoch of warm-up."""
    return replace(
        recipe,
        learning_rate=0.3 * (recipe.batch_size / 256) ** 0.5,
        weight_decay=_DECAY,
        warmup=min(0.2, 1 / recipe.epochs),
        augment="none",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Widths of projector and predictor; BossNAS has 4096 and 256."""

    hidden: int = 4096
    features: int = 256

    def macs(self, width: float) -> tuple[float, float]:
        """Returns the multiply-adds for one map: of projector and predictor, which learn, and of the target projector.

        Args:
            width: Channels of the map.
        """
        projector, predictor = self.hidden * (width + self.features), 2 * self.hidden * self.features
        return projector + predictor, projector

    def net(
        self, space: SearchSpace, starts: Sequence[tuple[Shape, Path]], *, block: int, seed: int
    ) -> BootstrappedNet:
        """Builds the network of a block."""
        return BootstrappedNet(space, starts, self, seed=seed)


class Projector(nn.Module):
    """Projects a feature map to a vector: global average pooling, then two linear layers.

    There is one first layer per width, since the paths of a block may end in different widths.
    """

    def __init__(self, widths: Iterable[int], heads: Heads) -> None:
        super().__init__()
        self.first = nn.ModuleDict(
            {str(width): nn.Linear(width, heads.hidden, bias=False) for width in sorted({*widths})}
        )
        self.norm = nn.BatchNorm1d(heads.hidden)
        self.last = nn.Linear(heads.hidden, heads.features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(self.first[str(x.shape[1])](x.mean((2, 3)))).relu())


class BootstrappedNet(BlockNet):
    """One block's online and target networks, each with heads. In both, BatchNorm uses batch statistics."""

    def __init__(self, space: SearchSpace, starts: Sequence[tuple[Shape, Path]], heads: Heads, *, seed: int) -> None:
        super().__init__(space, starts, seed=seed)
        self.target = BlockWeights(space, starts, seed=seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            self.projector = Projector((path.width for _, path in starts), heads)
            self.predictor = nn.Sequential(
                nn.Linear(heads.features, heads.hidden, bias=False),
                nn.BatchNorm1d(heads.hidden),
                nn.ReLU(),
                nn.Linear(heads.hidden, heads.features),
            )
        self.target_projector = copy.deepcopy(self.projector)
        self.target.requires_grad_(False)
        self.target_projector.requires_grad_(False)

    def learn(
        self,
        views: Views,
        shape: Shape,
        paths: Sequence[Path],
        *,
        autocast: AbstractContextManager[Any] | None = None,
    ) -> tuple[float, Views]:
        """Adds the gradients of some paths of one cell, on two views of a batch.

        Returns:
            The mean loss, and the first path's output maps of the views, detached.
        """
        autocast = autocast or nullcontext()
        self.train()
        targets = self._targets(views, shape, paths, autocast)
        total, handed_on = 0.0, None
        for path in paths:
            with autocast:
                maps = tuple(self.online(view.detach(), path.pieces, shape) for view in views)
                predicted = [self.predictor(self.projector(x)) for x in maps]
            handed_on = handed_on or (maps[0].detach(), maps[1].detach())
            loss = bootstrapping_loss((predicted[0], predicted[1]), targets) / len(paths)
            self.online.backward(loss)
            total += loss.item()
        self.online.publish_gradients()
        assert handed_on is not None
        return total, handed_on

    @torch.no_grad()
    def _targets(
        self, views: Views, shape: Shape, paths: Sequence[Path], autocast: AbstractContextManager[Any]
    ) -> Views:
        with autocast:
            first, second = (
                ensemble([self.target_projector(self.target(view, path.pieces, shape)) for path in paths])
                for view in views
            )
        return first, second

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """Updates the target as a moving average of the online network, and clears the gradients."""
        pairs = [(self.target, self.online), (self.target_projector, self.projector)]
        targets = [p for target, _ in pairs for p in target.parameters()]
        online = [p.detach() for _, source in pairs for p in source.parameters()]
        for target, source in zip(targets, online, strict=True):
            target.lerp_(source, 1 - momentum)
        self.online.clear_gradients()
        for head in (self.projector, self.predictor):
            head.zero_grad(set_to_none=True)


class Bootstrapping:
    """Trains paths to predict the mean projection of the block's paths for another view of the same image.

    Args:
        augment: Augmentation of views, as for `random_view`.
    """

    def __init__(self, augment: Augment = "crop-flip") -> None:
        self._augment: Augment = augment

    def optimizer(self, trained: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
        return Lars(*decay_groups(trained), lr=recipe.learning_rate, weight_decay=_DECAY, trust=_TRUST)

    def batch(self, images: torch.Tensor, generator: torch.Generator) -> Batch:
        first = random_view(images, generator, augment=self._augment)
        return Batch((first, random_view(images, generator, augment=self._augment)))

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
        first, second = batch.views
        loss, views = _bootstrapped(net).learn((first, second), shape, paths, autocast=autocast)
        return loss, Batch(views)

    def follow(self, net: BlockNet, momentum: float) -> None:
        _bootstrapped(net).follow(momentum)

    def goals(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return ()

    def measured_views(self, images: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        return (images,)

    def readers(self, net: BlockNet) -> list[Reader]:
        """Returns one reader, the target network: a path's projections, normalized, (images, features) in float64."""
        learnt = _bootstrapped(net)

        def read(known: Maps, asked: Maps, _: Maps) -> torch.Tensor:
            projected = recalibrated(learnt.target_projector, known, asked)[1]
            return F.normalize(in_float64(torch.cat(projected)), dim=1).cpu()

        return [Reader(learnt.target, read)]

    def distances(self, readings: Sequence[Sequence[torch.Tensor]], drawn: int) -> list[float]:
        """Returns the mean over images of the squared distance to the center, the mean of the cell's own paths."""
        [projected] = readings
        centre = torch.stack([*projected[:drawn]]).mean(0)
        return [float(((each - centre) ** 2).sum(1).mean()) for each in projected]


class PublishedBootstrapping(Bootstrapping):
    """The same training, with the distance that the authors' code of BossNAS ranks paths by.

    A path's online network predicts the center of one view from the other view and vice versa:
    4 - 2 cos(p1, T2) - 2 cos(p2, T1), averaged over the images, from 0 to 8. The center T of a view is the mean over
    the cell's own paths of the target network's projections, not normalized (in training they are). The predictor's
    BatchNorm uses the statistics of training, all others those recalibrated for the path.
    """

    def measured_views(self, images: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        return self.batch(images, generator).views

    def readers(self, net: BlockNet) -> list[Reader]:
        """Returns two readers: online predictions and target projections, (2, images, features) in float64."""
        learnt = _bootstrapped(net)

        def predict(known: Maps, asked: Maps, _: Maps) -> torch.Tensor:
            learnt.predictor.eval()
            return _by_view([learnt.predictor(x) for x in recalibrated(learnt.projector, known, asked)[1]])

        def project(known: Maps, asked: Maps, _: Maps) -> torch.Tensor:
            return _by_view(recalibrated(learnt.target_projector, known, asked)[1])

        return [Reader(learnt.online, predict), Reader(learnt.target, project)]

    def distances(self, readings: Sequence[Sequence[torch.Tensor]], drawn: int) -> list[float]:
        predicted, projected = readings
        first, second = torch.stack([*projected[:drawn]]).mean(0)
        return [4 + float(bootstrapping_loss((p[0], p[1]), (first, second))) for p in predicted]


def _by_view(batches: Maps) -> torch.Tensor:
    """Stacks the vectors of batches, in which the two views alternate: (2, images, features) in float64."""
    return in_float64(torch.stack([torch.cat(batches[0::2]), torch.cat(batches[1::2])])).cpu()


def _bootstrapped(net: BlockNet) -> BootstrappedNet:
    assert isinstance(net, BootstrappedNet)
    return net
