"""The shared weights of each block of a space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from nas.methods.blockwise.blocks import Blocks, Cell, Path, Piece
from nas.networks.network import make_part, shape_after
from nas.networks.shared_weights import SharedWeights, slot_of
from nas.ops import Shape
from nas.spaces import SearchSpace


class BlockWeights(SharedWeights):
    """Shared weights of all paths of one block, for all its cells.

    Paths share a layer's weights if it has the same position in the block and differs only in elastic parameters, as
    in `nas.networks.supernet.Supernet`.

    Args:
        starts: Every path with the shape of its input map.
    """

    def __init__(self, space: SearchSpace, starts: Iterable[tuple[Shape, Path]], *, seed: int) -> None:
        super().__init__(space)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for slot, builders in _slots(starts):
                self._allocate(slot, builders)

    def modules_of(self, pieces: Sequence[Piece], shape: Shape) -> Iterator[Any]:
        """Yields a path's modules in order; in training with gradients enabled, marks their weights as used."""
        for place, config in pieces:
            module = self.skeleton(place, config, shape)
            yield module
            shape = module.shape

    def forward(self, x: torch.Tensor, pieces: Sequence[Piece], shape: Shape) -> torch.Tensor:
        """Returns the output map (B, C, H, W) of a path for an input of the given shape."""
        for module in self.modules_of(pieces, shape):
            x = module(x)
        return x


class BlockNet(nn.Module):
    """One block's trained network; subclasses add what its target needs.

    Gradients do not flow into the inputs. BatchNorm uses batch statistics; its running statistics are meaningless
    before `CellScorer` recalibrates them for a path.
    """

    def __init__(self, space: SearchSpace, starts: Sequence[tuple[Shape, Path]], *, seed: int) -> None:
        super().__init__()
        self.online = BlockWeights(space, starts, seed=seed)


class Nets(Protocol):
    """Builds the networks of blocks."""

    def net(self, space: SearchSpace, starts: Sequence[tuple[Shape, Path]], *, block: int, seed: int) -> BlockNet: ...


class BlockSupernet(nn.Module):
    """The networks of all blocks of a space.

    Args:
        space: The space at the training resolution.
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
        """Returns the network of one block."""
        found = self.nets[block]
        assert isinstance(found, BlockNet)
        return found


def entry_shapes(space: SearchSpace, blocks: Blocks) -> dict[Cell, Shape]:
    """Returns the shape of each cell's input map; the first cell's is the image's."""
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
                        after[piece.config, shape] = shape_after(piece.config, shape)
                    shape = after[piece.config, shape]
                shapes[following] = shape
    return shapes


def _slots(starts: Iterable[tuple[Shape, Path]]) -> Iterator[tuple[str, list[Any]]]:
    """Yields every slot with builders of its possible layers, except those that a larger one contains."""
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
                after[config, shape] = shape_after(config, shape)
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
        yield slot, [partial(make_part, config, shape) for config, shape in kept]


def _undominated(configs: Mapping[Any, Shape]) -> list[Any]:
    """Returns the configurations that no other exceeds in every number; within a slot, only elastic numbers differ."""
    numbers = {config: dict(_numbers(config.to_dict())) for config in configs}
    kept: list[Any] = []
    for config in sorted(configs, key=lambda each: sorted(numbers[each].items()), reverse=True):
        mine = numbers[config]
        if not any(numbers[k].keys() == mine.keys() and all(numbers[k][n] >= mine[n] for n in mine) for k in kept):
            kept.append(config)
    return kept


def _numbers(data: Any, where: str = "") -> Iterator[tuple[str, float]]:
    """Yields the numbers in plain data, each with its path."""
    if isinstance(data, dict):
        for key in sorted(data):
            yield from _numbers(data[key], f"{where}/{key}")
    elif isinstance(data, list | tuple):
        for i, item in enumerate(data):
            yield from _numbers(item, f"{where}/{i}")
    elif isinstance(data, int | float) and not isinstance(data, bool):
        yield where, data
