"""Block-wise distillation (DNA, Li et al. 2020, arXiv:1911.13053): a block's paths learn to reproduce a teacher's maps.

The teacher is a trained network. The target of every path of a block is the teacher's feature map at the end of the
corresponding part, each channel standardized over training images. A learned 1x1 convolution projects the path's map
to the teacher's channels, and the larger of the two grids is pooled to the smaller. There is one such convolution per
output width, even for the teacher's own width, so that all paths of a cell are measured alike. Unlike in DNA, the
input of a block is not the teacher's map but, as in all our block-wise searches, the output of paths of the previous
block, so that inputs of any size and width are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nas.architecture import Architecture
from nas.data import Batches, Dataset
from nas.errors import OptionError, SpaceError
from nas.methods.blockwise.blocks import Partition, Path
from nas.methods.blockwise.network import BlockNet
from nas.methods.blockwise.target import Batch, Maps, Reader
from nas.networks.network import Network, Stage
from nas.ops import Shape
from nas.spaces import SearchSpace
from nas.training import Recipe
from nas.training.device import in_float64

_STATISTICS_IMAGES, _BATCH, _LEAST_VARIANCE = 512, 64, 1e-6

Taps = tuple[tuple[int, int], ...]
"""The end of each block in a network, as (stage, layer), both counted from 1; (0, 0) is the stem."""


def block_ends(space: SearchSpace, cut: Partition, architecture: Architecture) -> Taps:
    """Returns the places in a network that correspond to the ends of a space's blocks.

    In a member of the space these are the ends of its blocks. Other networks must have as many stages as the space, or
    as many layers if blocks are divided by layers.

    Raises:
        OptionError: If it is neither.
    """
    layers = [len(stage.layers) for stage in architecture.stages]
    ends = [(i, k) for i, count in enumerate(layers, start=1) for k in range(1, count + 1)]
    try:
        present = [gene.depth > 0 for gene in space.encode(architecture).stages]
    except SpaceError:
        present = [True] * len(space.stages)
    has, wants = (len(ends), cut.ends[-1]) if cut.by_layers else (len(layers), sum(present))
    if has != wants:
        what = "layers" if cut.by_layers else "stages"
        raise OptionError(
            f"its {has} {what} cannot be matched to the blocks of {space.name}, which has {wants}: give a member of "
            f"the space, or another network with {wants} {what}."
        )
    if cut.by_layers:
        return tuple(ends[end - 1] for end in cut.ends)
    reached = [sum(present[:end]) for end in cut.ends]
    return tuple((stage, layers[stage - 1] if stage else 0) for stage in reached)


def tapped(network: Network, taps: Taps, x: torch.Tensor) -> list[torch.Tensor]:
    """Returns a network's feature maps at the given places for images (B, C, H, W)."""
    x = network.stem(x)
    found = {(0, 0): x}
    for i, stage in enumerate(network.stages, start=1):
        assert isinstance(stage, Stage)
        x = stage.transition(x)
        for k, layer in enumerate(stage.layers, start=1):
            x = layer(x)
            found[i, k] = x
    return [found[tap].float() for tap in taps]


class Teacher:
    """A trained network whose feature maps are the targets of blocks.

    Args:
        network: The network, built for the blocks' images and on their device; it is frozen.
        taps: The place in the network that corresponds to the end of each block.
        mean, std: Per channel, the normalization that the network was trained with; empty for that of `data`.
        data: The training data; maps are standardized by statistics on its first images.
    """

    def __init__(
        self,
        network: Network,
        taps: Taps,
        data: Dataset,
        *,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        device: str = "cpu",
    ) -> None:
        self.network, self.taps = network.requires_grad_(False).eval().to(device), taps
        # Converts from the normalization of `data` to the network's.
        ratios = [own / given for own, given in zip(data.std, std or data.std, strict=True)]
        shifts = [(m - g) / s for m, g, s in zip(data.mean, mean or data.mean, std or data.std, strict=True)]
        self._scale = torch.tensor(ratios, device=device).view(1, -1, 1, 1)
        self._shift = torch.tensor(shifts, device=device).view(1, -1, 1, 1)
        self._mean, self._deviation = self._statistics(data, device)

    @torch.no_grad()
    def maps(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Returns its standardized map (B, C, H, W) per block, for images normalized as in training."""
        raw = self._raw(images)
        return tuple((x - m) / d for x, m, d in zip(raw, self._mean, self._deviation, strict=True))

    def _raw(self, images: torch.Tensor) -> list[torch.Tensor]:
        return tapped(self.network, self.taps, images * self._scale + self._shift)

    @torch.no_grad()
    def _statistics(self, data: Dataset, device: str) -> tuple[Maps, Maps]:
        """Returns mean and standard deviation of every channel at every tap, (1, C, 1, 1) each."""
        split = data.train.first(_STATISTICS_IMAGES)
        sums: list[torch.Tensor] = []
        for images, _ in Batches(split, batch_size=_BATCH, mean=data.mean, std=data.std, device=device):
            raw = [in_float64(x) for x in self._raw(images)]
            share = len(images) / len(split)
            now = [torch.stack([x.mean((0, 2, 3)), (x**2).mean((0, 2, 3))]) * share for x in raw]
            sums = [a + b for a, b in zip(sums, now, strict=True)] if sums else now
        mean = [first for first, _ in sums]
        variance = [(second - first**2).clamp_min(0) for first, second in sums]
        return (
            [each.float().view(1, -1, 1, 1).to(device) for each in mean],
            [(each + _LEAST_VARIANCE).sqrt().float().view(1, -1, 1, 1).to(device) for each in variance],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Projections:
    """Widths of the teacher's maps, per block."""

    channels: tuple[int, ...]

    def net(self, space: SearchSpace, starts: Sequence[tuple[Shape, Path]], *, block: int, seed: int) -> DistilledNet:
        """Builds the network of a block."""
        return DistilledNet(space, starts, self.channels[block], seed=seed)


class DistilledNet(BlockNet):
    """One block's network, with a 1x1 convolution to the teacher's channels per output width of its paths."""

    def __init__(self, space: SearchSpace, starts: Sequence[tuple[Shape, Path]], channels: int, *, seed: int) -> None:
        super().__init__(space, starts, seed=seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            self.projections = nn.ModuleDict(
                {str(width): nn.Conv2d(width, channels, 1) for width in sorted({path.width for _, path in starts})}
            )

    def errors(self, x: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        """Returns per image the mean squared difference (B,) between a path's output and the teacher's map."""
        size = min(x.shape[2], goal.shape[2]), min(x.shape[3], goal.shape[3])
        x, goal = (F.adaptive_avg_pool2d(each, size) if each.shape[2:] != size else each for each in (x, goal))
        projected = self.projections[str(x.shape[1])](x)
        return ((projected.float() - goal) ** 2).mean((1, 2, 3))


class Distillation:
    """Trains paths to reproduce the teacher's map at the end of their block."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher

    def optimizer(self, trained: nn.Module, recipe: Recipe) -> None:
        return None

    def batch(self, images: torch.Tensor, generator: torch.Generator) -> Batch:
        return Batch((images,), self.goals(images))

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
        [view], goal = batch.views, batch.goals[block]
        total, handed_on = 0.0, view
        net.train()
        for number, path in enumerate(paths):
            with autocast:
                x = net.online(view.detach(), path.pieces, shape)
                loss = _distilled(net).errors(x, goal).mean() / len(paths)
            net.online.backward(loss)
            total += loss.item()
            handed_on = handed_on if number else x.detach()
        net.online.publish_gradients()
        return total, batch._replace(views=(handed_on,))

    def follow(self, net: BlockNet, momentum: float) -> None:
        net.online.clear_gradients()
        _distilled(net).projections.zero_grad(set_to_none=True)

    def goals(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self._teacher.maps(images)

    def measured_views(self, images: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        return (images,)

    def readers(self, net: BlockNet) -> list[Reader]:
        """Returns one reader, the block's network: a path's error, averaged over the images."""

        def read(_: Maps, asked: Maps, goals: Maps) -> torch.Tensor:
            errors = [_distilled(net).errors(x, goal) for x, goal in zip(asked, goals, strict=True)]
            return in_float64(torch.cat(errors)).mean().cpu()

        return [Reader(net.online, read)]

    def distances(self, readings: Sequence[Sequence[torch.Tensor]], drawn: int) -> list[float]:
        """Returns the errors; each depends on one path only."""
        [errors] = readings
        return [float(each) for each in errors]


def _distilled(net: BlockNet) -> DistilledNet:
    assert isinstance(net, DistilledNet)
    return net
