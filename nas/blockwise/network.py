"""A block's shared weights twice: an online network that learns, and a target that follows it slowly."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nas.architecture import BlockConfig, LayerConfig
from nas.blockwise.losses import bootstrapping_loss, ensemble
from nas.model import Layer
from nas.ops import Shape, make
from nas.shared_weights import SharedWeights, slot_of
from nas.space import SearchSpace
from nas.space.blocks import Blocks, Cell, Path, Piece

Views = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Widths of projector and predictor; BossNAS has 4096 and 256."""

    hidden: int = 4096
    features: int = 256


class BlockWeights(SharedWeights):
    """Shared weights of all paths of one block, whichever cell they start from.

    Paths share a layer's weights where it is in the same place of the block and differs in nothing but elastic
    parameters, as in `nas.supernet.Supernet`.

    Args:
        starts: Every path with the shape of the map that it starts from.
    """

    def __init__(self, space: SearchSpace, starts: Iterable[tuple[Shape, Path]], *, seed: int) -> None:
        super().__init__(space)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for slot, builders in _slots(starts):
                self._allocate(slot, builders)

    def modules_of(self, pieces: Sequence[Piece], shape: Shape) -> Iterator[Any]:
        """A path's modules in order; in training with gradients enabled, their weights count as taking part."""
        for place, config in pieces:
            module = self._skeleton(place, config, shape)
            yield module
            shape = module.shape

    def forward(self, x: torch.Tensor, pieces: Sequence[Piece], shape: Shape) -> torch.Tensor:
        """The map (B, C, H, W) that a path makes of one of the given shape."""
        for module in self.modules_of(pieces, shape):
            x = module(x)
        return x


class Projector(nn.Module):
    """From a map to a vector to compare: averaged over its pixels, then two linear layers.

    The first layer is another for each width, since the paths of a block may end in different ones.
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


class BlockNet(nn.Module):
    """One block's online and target networks.

    Gradients stay inside: whatever is handed in is taken as it is. BatchNorm goes by the batch at hand, here and in
    the target; its running statistics mean nothing before `CellScorer` makes them for a path.
    """

    def __init__(self, space: SearchSpace, starts: Sequence[tuple[Shape, Path]], heads: Heads, *, seed: int) -> None:
        super().__init__()
        self.online = BlockWeights(space, starts, seed=seed)
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
            The mean loss, and the maps that the first path made of the views, detached.
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
        """Moves the target by a share of 1 - `momentum` towards the online network, and forgets the gradients."""
        pairs = [(self.target, self.online), (self.target_projector, self.projector)]
        targets = [p for target, _ in pairs for p in target.parameters()]
        online = [p.detach() for _, source in pairs for p in source.parameters()]
        for target, source in zip(targets, online, strict=True):
            target.lerp_(source, 1 - momentum)
        self.online.clear_gradients()
        for head in (self.projector, self.predictor):
            head.zero_grad(set_to_none=True)


class BlockSupernet(nn.Module):
    """The networks of all blocks of a space.

    Args:
        space: At the resolution that it is trained at.
    """

    def __init__(self, space: SearchSpace, blocks: Blocks, heads: Heads, *, seed: int = 0) -> None:
        super().__init__()
        self.blocks = blocks
        self.shapes = entry_shapes(space, blocks)
        self.nets = nn.ModuleList(
            BlockNet(
                space,
                [(self.shapes[c], path) for c, paths in blocks.cells.items() if c.block == block for path in paths],
                heads,
                seed=seed + 1000 * block,
            )
            for block in range(blocks.count)
        )

    def net(self, block: int) -> BlockNet:
        """The networks of one block."""
        found = self.nets[block]
        assert isinstance(found, BlockNet)
        return found


def entry_shapes(space: SearchSpace, blocks: Blocks) -> dict[Cell, Shape]:
    """The shape of the map that each cell starts from; the first cell's is the image's."""
    size = space.input.resolution
    shapes: dict[Cell, Shape] = {}
    after: dict[tuple[Any, Shape], Shape] = {}
    for cell, paths in blocks.cells.items():
        shapes.setdefault(cell, Shape(space.input.channels, size, size))
        for path in paths:
            following = blocks.entered(cell, path)
            if following is not None and following not in shapes:
                shape = shapes[cell]
                for piece in path.pieces:
                    if (piece.config, shape) not in after:
                        after[piece.config, shape] = _built(piece.config, shape).shape
                    shape = after[piece.config, shape]
                shapes[following] = shape
    return shapes


def _built(config: BlockConfig | LayerConfig, shape: Shape) -> Any:
    with torch.device("meta"):
        return _make(config, shape)


def _make(config: BlockConfig | LayerConfig, shape: Shape) -> Any:
    data = config.to_dict()
    return Layer(data, shape) if isinstance(config, LayerConfig) else make(data, shape)


def _slots(starts: Iterable[tuple[Shape, Path]]) -> Iterator[tuple[str, list[Any]]]:
    """Every slot with builders of the layers that may stand there, but for those that another exceeds."""
    after: dict[tuple[Any, Shape], Shape] = {}
    # Slot, widths before and after -> configurations. Of equal widths, the numbers decide: a shortcut's projection is
    # there only where the width changes.
    found: dict[str, dict[tuple[int, int], dict[Any, Shape]]] = {}
    seen: set[tuple[Piece, Shape]] = set()
    for start, path in starts:
        shape = start
        for piece in path.pieces:
            config = piece.config
            if (config, shape) not in after:
                after[config, shape] = _built(config, shape).shape
            following = after[config, shape]
            if (piece, shape) not in seen:
                seen.add((piece, shape))
                slot = slot_of(piece.place, config, shape)
                widths = found.setdefault(slot, {}).setdefault((shape.channels, following.channels), {})
                widths[config] = shape
            shape = following
    for slot, by_widths in found.items():
        kept = [
            (config, configs[config])
            for _, configs in sorted(by_widths.items(), reverse=True)
            for config in _undominated(configs)
        ]
        yield slot, [lambda c=config, s=shape: _make(c, s) for config, shape in kept]


def _undominated(configs: Mapping[Any, Shape]) -> list[Any]:
    """Those that no other exceeds in every number; in a slot, only elastic numbers differ."""
    numbers = {config: dict(_numbers(config.to_dict())) for config in configs}
    kept: list[Any] = []
    for config in sorted(configs, key=lambda each: sorted(numbers[each].items()), reverse=True):
        mine = numbers[config]
        if not any(numbers[k].keys() == mine.keys() and all(numbers[k][n] >= mine[n] for n in mine) for k in kept):
            kept.append(config)
    return kept


def _numbers(data: Any, where: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in plain data, each with where it stands."""
    if isinstance(data, dict):
        for key in sorted(data):
            yield from _numbers(data[key], f"{where}/{key}")
    elif isinstance(data, list | tuple):
        for i, item in enumerate(data):
            yield from _numbers(item, f"{where}/{i}")
    elif isinstance(data, int | float) and not isinstance(data, bool):
        yield where, data
