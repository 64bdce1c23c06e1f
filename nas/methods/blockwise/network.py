"""The shared weights of each block of a space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from nas.architecture import BlockConfig, LayerConfig
from nas.methods.blockwise.blocks import Blocks, Cell, Path, Piece
from nas.networks.network import Layer
from nas.networks.shared_weights import SharedWeights, slot_of
from nas.ops import Shape, make
from nas.spaces import SearchSpace


class BlockWeights(SharedWeights):
    """Shared weights of all paths of one block, whichever cell they start from.

    Paths share a layer's weights where it is in the same place of the block and differs in nothing but elastic
    parameters, as in `nas.networks.supernet.Supernet`.

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


class BlockNet(nn.Module):
    """One block's network, which learns; whatever it is taught by stands beside it.

    Gradients stay inside: inputs are taken as they are. BatchNorm goes by the batch at hand; its running
    statistics mean nothing before `CellScorer` makes them for a path.
    """

    def __init__(self, space: SearchSpace, starts: Sequence[tuple[Shape, Path]], *, seed: int) -> None:
        super().__init__()
        self.online = BlockWeights(space, starts, seed=seed)


class Nets(Protocol):
    """What kind of network a block has."""

    def net(self, space: SearchSpace, starts: Sequence[tuple[Shape, Path]], *, block: int, seed: int) -> BlockNet: ...


class BlockSupernet(nn.Module):
    """The networks of all blocks of a space.

    Args:
        space: At the resolution that it is trained at.
        kind: Makes the network of each block.
    """

    def __init__(self, space: SearchSpace, blocks: Blocks, kind: Nets, *, seed: int = 0) -> None:
        super().__init__()
        self.blocks = blocks
        self.shapes = entry_shapes(space, blocks)
        self.nets = nn.ModuleList(
            kind.net(
                space,
                [(self.shapes[c], path) for c, paths in blocks.cells.items() if c.block == block for path in paths],
                block=block,
                seed=seed + 1000 * block,
            )
            for block in range(blocks.count)
        )

    def net(self, block: int) -> BlockNet:
        """The network of one block."""
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
