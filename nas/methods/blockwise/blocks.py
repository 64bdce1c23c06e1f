"""Partition of a space's sequence of decisions into blocks, and the paths through each, which are trained and scored.

BossNAS (Li et al. 2021, arXiv:2103.12424) divides HyTra after every fourth layer and the NATS size space into runs of
layers. Here any space has blocks: of four layers if a fixed number of layers is distributed over the stages, else of a
stage or a run of stages. A *cell* is a block with one input state, a feature map of one size and width; its *paths* are
the different networks that the block can then be.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from nas.architecture import BlockConfig, LayerConfig
from nas.errors import SpaceError
from nas.spaces.decision_graph import END, START, Node
from nas.spaces.genotype import Genotype, LayerChoice
from nas.spaces.search_space import SearchSpace

_LAYERS_PER_BLOCK = 4
MOST_MERGED = 100
"""Stages are merged into a block as long as no cell has more paths than this: about HyTra's largest, 99."""
MOST_PATHS = 256
"""The most paths sampled from a state if there are more through a block."""


class Decision(Protocol):
    """An edge of a graph with its cost."""

    @property
    def choice(self) -> Any: ...

    @property
    def node(self) -> Node: ...

    @property
    def macs(self) -> int: ...

    @property
    def params(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """The boundaries of blocks in the sequence of decisions.

    Attributes:
        by_layers: Whether `ends` counts layers of the whole network; else it counts stages.
        ends: Number of layers or stages after which each block ends. The stem belongs to the first block, the head to
            none.
    """

    by_layers: bool
    ends: tuple[int, ...]

    def starting(self, node: Node) -> int | None:
        """Returns the block that starts at a node; None within a block and at the end."""
        if node == START:
            return 0
        reached = node.total if self.by_layers else node.stage
        if node == END or bool(node.placed) != self.by_layers or reached not in self.ends[:-1]:
            return None
        return self.ends.index(reached) + 1

    def __str__(self) -> str:
        sizes = [end - start for start, end in zip((0, *self.ends), self.ends, strict=False)]
        return f"{len(sizes)} blocks of {', '.join(map(str, sizes))} {'layers' if self.by_layers else 'stages'}"


class Cell(NamedTuple):
    """A block with its input state.

    Attributes:
        source: The stage that the input map comes from; -1 is the stem, -2 the image itself.
        width: Channels of the input map; 0 for the image.
    """

    block: int
    source: int
    width: int

    def __str__(self) -> str:
        where = {-2: "the image", -1: f"the stem, {self.width} wide"}
        return f"block {self.block + 1} from {where.get(self.source, f'stage {self.source + 1}, {self.width} wide')}"


class Piece(NamedTuple):
    """A layer, transition or stem, and the slot of its weights in the block."""

    place: str
    config: BlockConfig | LayerConfig


class Path(NamedTuple):
    """One network that a block can be: its pieces in order, and the stage and width of its output map.

    Different decisions with the same pieces are the same path.
    """

    pieces: tuple[Piece, ...]
    source: int
    width: int


class Move(NamedTuple):
    """Decisions from the start of a block to its end, and the index of their path."""

    path: int
    options: tuple[Any, ...]
    node: Node
    macs: int
    params: int


def partition(space: SearchSpace, options: Mapping[Node, Sequence[Decision]], nodes: Sequence[Node]) -> Partition:
    """Returns the partition of a space into blocks.

    Args:
        options, nodes: Its decision graph, nodes from START to END.
    """
    if len(space.total_depth) == 1 and all(stage.per_layer for stage in space.stages):
        total = space.total_depth[0]
        return Partition(by_layers=True, ends=(*range(_LAYERS_PER_BLOCK, total, _LAYERS_PER_BLOCK), total))
    ends: list[int] = []
    count = len(space.stages)
    while not ends or ends[-1] < count:
        begun = ends[-1] if ends else 0
        end = begun + 1
        while end < count and _most_ways(options, nodes, [*ends, end + 1, count]) <= MOST_MERGED:
            end += 1
        ends.append(end)
    return Partition(by_layers=False, ends=tuple(ends))


def _most_ways(options: Mapping[Node, Sequence[Decision]], nodes: Sequence[Node], ends: list[int]) -> int:
    """Returns the most ways from one entry through the last but one of these blocks."""
    cut = Partition(by_layers=False, ends=tuple(dict.fromkeys(ends)))
    block = ends.index(ends[-2])
    ways = ways_through(options, nodes, cut)
    return max(sum(ways[o.node] for o in options[n]) for n in nodes[:-1] if cut.starting(n) == block)


def ways_through(options: Mapping[Node, Sequence[Decision]], nodes: Sequence[Node], cut: Partition) -> dict[Node, int]:
    """Returns per node the number of ways to the end of its block; 1 at the start of a block."""
    ways = {END: 1}
    for node in reversed(nodes[:-1]):
        ways[node] = 1 if cut.starting(node) is not None else sum(ways[option.node] for option in options[node])
    return ways


class Blocks:
    """The cells of a space, their paths, and the transitions between cells.

    If a state has more than `most` ways through its block, `most` are sampled uniformly; the one with the fewest
    multiply-adds to each state at the block's end is always among them, so that any feasible budget can be met.

    Args:
        options, nodes: The decision graph, such as `CostGraph`'s, its nodes from START to END.
        seed: Random seed of the sampling.

    Attributes:
        cells: Per cell, its paths, in the same order in every process; by ascending block.
        moves: Per node that starts a block, the ways through it.
        sampled: Whether some cell has paths that were not sampled.
    """

    def __init__(
        self,
        space: SearchSpace,
        options: Mapping[Node, Sequence[Decision]],
        nodes: Sequence[Node],
        *,
        cut: Partition | None = None,
        most: int = MOST_PATHS,
        seed: int = 0,
    ) -> None:
        self.space, self.most, self.sampled = space, most, False
        self.cut = cut or partition(space, options, nodes)
        self._options, self._nodes, self._seed = options, nodes, seed
        self._ways = ways_through(options, nodes, self.cut)
        self.cells: dict[Cell, list[Path]] = {}
        self.moves: dict[Node, list[Move]] = {}
        numbers: dict[Cell, dict[Path, int]] = {}
        reached = {START}
        for node in nodes[:-1]:
            block = self.cut.starting(node)
            if block is None or node not in reached:
                continue
            known = numbers.setdefault(self.cell(node), {})
            self.moves[node] = [self._move(node, picked, known) for picked in self._picked(node)]
            reached.update(move.node for move in self.moves[node])
        for cell, known in sorted(numbers.items()):
            self.cells[cell] = list(known)

    @property
    def count(self) -> int:
        """Number of blocks."""
        return len(self.cut.ends)

    @property
    def networks(self) -> float:
        """Number of average networks with as many pieces as all paths together; common prefixes are counted once."""
        starts = {
            (cell, path.pieces[:end])
            for cell, paths in self.cells.items()
            for path in paths
            for end in range(1, len(path.pieces) + 1)
        }
        pieces = [len(path.pieces) for paths in self.cells.values() for path in paths]
        return len(starts) / (self.count * max(1.0, sum(pieces) / len(pieces)))

    def cell(self, node: Node) -> Cell:
        """Returns the cell of a node that starts a block."""
        block = self.cut.starting(node)
        assert block is not None
        return Cell(block, node.source, node.width)

    def entered(self, cell: Cell, path: Path) -> Cell | None:
        """Returns the cell that a path of a cell leads to; None from the last block."""
        return Cell(cell.block + 1, path.source, path.width) if cell.block + 1 < self.count else None

    def route(self, genotype: Genotype) -> list[tuple[Cell, Path]]:
        """Returns the cells of a member, each with its path, which may not be among those sampled.

        Raises:
            SpaceError: If the graph lacks one of its decisions, since no network within the bounds has it.
        """
        found: list[tuple[Cell, Path]] = []
        node, start, picked = START, START, list[Any]()
        while node != END:
            option = next((o for o in self._options.get(node, ()) if _agrees(o.choice, node, genotype)), None)
            if option is None:
                what = "stem" if node == START else f"choice of stage {node.stage + 1}"
                raise SpaceError(f"No {self.space.name} network under the bounds has this {what} after what is before.")
            picked.append(option)
            node = option.node
            if self._ends(node):
                found.append((self.cell(start), self._path(start, picked)))
                start, picked = node, []
        return found

    # -- inside -------------------------------------------------------------------------------------------------

    def _picked(self, start: Node) -> Iterator[tuple[Any, ...]]:
        """Yields the ways from the start of a block to its end, or those that are sampled."""
        if sum(self._ways[option.node] for option in self._options[start]) <= self.most:
            yield from self._all(start)
            return
        self.sampled = True
        found = dict.fromkeys(self._cheapest(start))
        rng = random.Random(f"{self._seed}-{start}")
        for _ in range(20 * self.most):
            if len(found) >= self.most:
                break
            found.setdefault(self._drawn(start, rng))
        yield from found

    def _all(self, start: Node) -> Iterator[tuple[Any, ...]]:
        stack: list[tuple[Node, tuple[Any, ...]]] = [(start, ())]
        while stack:
            node, picked = stack.pop()
            if picked and self._ends(node):
                yield picked
            else:
                stack += [(option.node, (*picked, option)) for option in reversed(self._options[node])]

    def _drawn(self, start: Node, rng: random.Random) -> tuple[Any, ...]:
        node, picked = start, []
        while not picked or not self._ends(node):
            options = self._options[node]
            option = rng.choices(options, [self._ways[o.node] for o in options])[0]
            picked.append(option)
            node = option.node
        return tuple(picked)

    def _cheapest(self, start: Node) -> list[tuple[Any, ...]]:
        """Returns the way with the fewest multiply-adds to each state at the block's end."""
        best: dict[Node, tuple[int, tuple[Any, ...]]] = {start: (0, ())}
        found: list[tuple[Any, ...]] = []
        for node in self._nodes[self._nodes.index(start) :]:
            if node not in best:
                continue
            spent, picked = best.pop(node)
            if picked and self._ends(node):
                found.append(picked)
                continue
            for option in self._options[node]:
                total = spent + option.macs
                if option.node not in best or total < best[option.node][0]:
                    best[option.node] = total, (*picked, option)
        return found

    def _ends(self, node: Node) -> bool:
        return node == END or self.cut.starting(node) is not None

    def _move(self, start: Node, picked: tuple[Any, ...], known: dict[Path, int]) -> Move:
        path = self._path(start, picked)
        number = known.setdefault(path, len(known))
        return Move(number, picked, picked[-1].node, sum(o.macs for o in picked), sum(o.params for o in picked))

    def _path(self, start: Node, picked: Sequence[Any]) -> Path:
        last = picked[-2].node if picked[-1].node == END else picked[-1].node
        return Path(tuple(self._pieces(start, picked)), last.source, last.width)

    def _pieces(self, start: Node, picked: Sequence[Any]) -> Iterator[Piece]:
        space, node, layers = self.space, start, 0
        for option in picked:
            choice = option.choice
            if node == START:
                yield Piece("stem", space.stem_block(choice))
            elif isinstance(choice, LayerChoice):
                transition, layer = space.layer_config(choice)
                # Counted from the block's start, so that the name does not depend on the stage's layers before it.
                place = f"stage{choice.stage + 1}-layer{(layers if self.cut.by_layers else choice.place) + 1}"
                if transition:
                    yield Piece(f"{place}-transition", transition)
                yield Piece(place, layer)
                layers += 1
            elif choice is not None and choice.op:
                stage = space.stage_config(node.stage, choice, node.source)
                if stage.transition:
                    yield Piece(f"stage{node.stage + 1}-transition", stage.transition)
                for i, each in enumerate(stage.layers):
                    yield Piece(f"stage{node.stage + 1}-layer{i + 1}", each)
            node = option.node


def _agrees(choice: Any, node: Node, genotype: Genotype) -> bool:
    """Returns whether a decision at a node is the member's."""
    if node == START:
        return choice == genotype.stem
    if choice is None:  # the head, after the last stage
        return True
    gene, placed = genotype.stages[node.stage], node.placed
    if isinstance(choice, LayerChoice):
        layers = gene.op[placed : placed + 1], gene.width, gene.params[placed : placed + 1]
        return layers == (choice.op, choice.width, (choice.params,))
    return placed == gene.depth if placed else choice == gene
