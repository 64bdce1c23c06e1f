"""The cost of every decision of a space, edge by edge of its graph: budgets are about sums of these."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from nas.architecture import BlockConfig, StageConfig
from nas.budget import Cost
from nas.costs.count_table import TABLE
from nas.costs.counter import Count
from nas.errors import ArchitectureError, SpaceError
from nas.ops import Shape
from nas.spaces import END, START, Genotype, Graph, LayerChoice, Node, SearchSpace, StageChoice
from nas.spaces.decision_graph import Edge

Part: TypeAlias = Callable[[BlockConfig | StageConfig, Shape], int]
"""What one block or stage adds to a metric that is no exact sum, for one image of this shape."""


class Spent(NamedTuple):
    """What one decision costs: exact counts, and its parts of further metrics by name."""

    macs: int
    params: int
    parts: Mapping[str, int]

    def __hash__(self) -> int:
        return hash((self.macs, self.params))


class Option(NamedTuple):
    """One decision at a node of a space's graph: an edge of it with its exact cost."""

    choice: Any
    node: Node
    weight: float
    spent: Spent

    @property
    def macs(self) -> int:
        return self.spent.macs

    @property
    def params(self) -> int:
        return self.spent.params

    def of(self, metric: str) -> int:
        """What the decision adds to a metric: "macs", "params" or one that the space's costs have parts of."""
        spent = self.spent
        return spent.macs if metric == "macs" else spent.params if metric == "params" else spent.parts[metric]


class CostGraph:
    """The members of a graph (of one layout, or of all) as paths with costs.

    Attributes:
        nodes: In an order in which every option leads forward, from START to END.
        options: Per node, the decisions that may be made there.
    """

    def __init__(self, costs: SpaceCosts, graph: Graph) -> None:
        self.nodes = graph.nodes
        self._graph = graph
        self.options = {node: costs.options(node, edges) for node, edges in graph.edges.items()}
        self._ahead: dict[tuple[str, bool], dict[Node, int]] = {}

    def remaining(self, metric: str, *, smallest: bool = True) -> dict[Node, int]:
        """Returns, per node, the least (or most) that is still to be spent: a shortest (longest) path to END."""
        found = self._ahead.get((metric, smallest))
        if found is None:
            pick, found = min if smallest else max, {END: 0}
            for node in reversed(self.nodes[:-1]):
                found[node] = pick([o.of(metric) + found[o.node] for o in self.options[node]])
            self._ahead[metric, smallest] = found
        return found

    def restricted(self, keep: Callable[[Node, Option], bool]) -> CostGraph:
        """Returns the members alone all of whose decisions are kept, with the shares that they have here."""
        found = copy.copy(self)
        found._ahead, found.options = {}, {}
        for node in reversed(self.nodes[:-1]):
            alive = [o for o in self.options[node] if (o.node == END or o.node in found.options) and keep(node, o)]
            if alive:
                found.options[node] = alive
        reached = {START}
        for node in self.nodes:
            if node in reached and node in found.options:
                reached.update(option.node for option in found.options[node])
        found.nodes = [node for node in self.nodes if node in reached] if START in found.options else []
        found.options = {node: options for node, options in found.options.items() if node in reached}
        return found

    def shares(self, *, fair: bool) -> dict[Node, float | int]:
        """Returns, per node, the number (or the fair measure) of the ways to END."""
        return self._graph.fair if fair else self._graph.counts  # type: ignore[return-value]

    def spent(self, metric: str) -> dict[Node, int]:
        """Returns, per node, the least that is spent up to it."""
        found = {START: 0}
        for node in self.nodes[:-1]:
            for option in self.options[node]:
                total = found[node] + option.of(metric)
                if total < found.get(option.node, total + 1):
                    found[option.node] = total
        return found


class SpaceCosts:
    """Exact costs of all members of a space, as sums over paths of its graph.

    Args:
        parts: Of further metrics, by name: what each block or stage adds to a sum that a search is guided by.

    Attributes:
        positions: The stem and the stages.
    """

    def __init__(self, space: SearchSpace, parts: Mapping[str, Part] | None = None) -> None:
        self.space, self._parts = space, dict(parts or {})
        self.positions = len(space.stages) + 1
        self._free = Spent(0, 0, dict.fromkeys(self._parts, 0))
        self._counts: dict[tuple[Any, int, int], Spent] = {}
        self._options: dict[int, tuple[list[Edge], list[Option]]] = {}
        self._graphs: dict[str, CostGraph] = {}
        # Height and width of the map after the stem (-1) and after every stage: sums hold only if all members that
        # have the stage agree on it.
        self._sizes: dict[int, tuple[int, ...]] = {}
        for values in space.stem.combinations:
            self._stem(values)
        width = min(space.stem.width(values) for values in space.stem.combinations)
        for i in range(len(space.stages)):
            width = self._probe(i, width)

    @property
    def total_stride(self) -> int:
        """Returns how many times smaller the smallest feature map is than the image."""
        return round(self.space.input.resolution / min(size[0] for size in self._sizes.values()))

    def graph(self, layout: str) -> CostGraph:
        """Returns the members of a layout with the cost of every decision.

        Raises:
            SpaceError: If a layer cannot be built, naming the stage and the numbers.
        """
        if layout not in self._graphs:
            self._graphs[layout] = CostGraph(self, self.space.graph(layout))
        return self._graphs[layout]

    @cached_property
    def whole_graph(self) -> CostGraph:
        """The graph of all members with the cost of every decision."""
        return CostGraph(self, self.space.whole_graph)

    def options(self, node: Node, edges: list[Edge]) -> list[Option]:
        """Returns the edges of a node with their costs."""
        # Layouts share most lists of edges; whoever holds one keeps its id from being taken by another.
        if id(edges) not in self._options:
            found = [Option(*edge, self._edge(node, edge.choice)) for edge in edges]
            self._options[id(edges)] = (edges, found)
        return self._options[id(edges)][1]

    def part(self, node: Node, choice: Any) -> tuple[BlockConfig | StageConfig, Shape] | None:
        """Returns the part of a network that a decision at a node adds, and the shape of its input; None if none."""
        space = self.space
        if node == START:
            side = space.input.resolution
            return space.stem_block(choice), Shape(space.input.channels, side, side)
        entering = Shape(node.width, *self._sizes[node.source])
        if choice is None:
            return space.head_block(node.width), entering
        if isinstance(choice, LayerChoice):
            transition, layer = space.layer_config(choice)
            return StageConfig(layers=(layer,), transition=transition), entering
        return (space.stage_config(node.stage, choice, node.source), entering) if choice.op else None

    def cost(self, genotype: Genotype) -> Cost:
        """Returns the exact cost of one member."""
        spent = [self._stem(genotype.stem)]
        width, source = self.space.stem.width(genotype.stem), -1
        for i, (stage, gene) in enumerate(zip(self.space.stages, genotype.stages, strict=True)):
            if not gene.depth:
                continue
            if stage.per_layer:
                for k, (op, values) in enumerate(zip(gene.op, gene.params, strict=True)):
                    choice = LayerChoice(i, k, i if k else source, op, gene.width, values)
                    spent.append(self._layer(choice, gene.width if k else width))
            else:
                spent.append(self._stage(gene, i, source, width))
            width, source = gene.width, i
        spent.append(self._head(source, width))
        return Cost(macs=sum(each.macs for each in spent), params=sum(each.params for each in spent))

    def everything(self) -> Iterator[tuple[str, Node, list[Option]]]:
        """Yields every (layout, node) with its options; counts them all."""
        for layout in self.space.layouts:
            for node, options in self.graph(layout).options.items():
                yield layout, node, options

    # -- inside -------------------------------------------------------------------------------------------------

    def _probe(self, index: int, width_in: int) -> int:
        """Counts one choice of every op of a stage after the one before it, for the size of its map.

        So an op that cannot be built for maps of this size is known at once. Returns the stage's width.
        """
        stage = self.space.stages[index]
        width = next((w for w in stage.widths if self.space.follows(width_in, w, index)), stage.widths[0])
        if not stage.per_layer:
            for op in stage.ops:
                first = next(choice for choice in stage.choices(op.letter) if choice.width == width)
                self._stage(first, index, index - 1, width_in)
            return width
        for place, source, before in ((0, index - 1, width_in), (1, index, width)):
            for op in stage.ops_at(place) if stage.depths[-1] > place else ():
                values = tuple(values[0] for _, values in op.choices_at(place))
                self._layer(LayerChoice(index, place, source, op.letter, width, values), before)
        return width

    def _edge(self, node: Node, choice: Any) -> Spent:
        if node == START:
            return self._stem(choice)
        if choice is None:
            return self._head(node.source, node.width)
        if isinstance(choice, LayerChoice):
            return self._layer(choice, node.width)
        return self._stage(choice, node.stage, node.source, node.width) if choice.op else self._free

    def _stem(self, values: tuple[Any, ...]) -> Spent:
        key = (values, -1, 0)
        if key not in self._counts:
            space = self.space
            image = Shape(space.input.channels, space.input.resolution, space.input.resolution)
            try:
                counted = TABLE.block(space.stem_block(values), image)
            except ArchitectureError as fault:
                raise SpaceError(f"{space.name}, stem: {fault}") from None
            self._agree(counted, "stem", -1, space.stem.width(values))
            self._counts[key] = self._spent(counted, space.stem_block(values), image)
        return self._counts[key]

    def _head(self, source: int, width: int) -> Spent:
        key = (None, source, width)
        if key not in self._counts:
            head, shape = self.space.head_block(width), Shape(width, *self._sizes[source])
            self._counts[key] = self._spent(TABLE.block(head, shape), head, shape)
        return self._counts[key]

    def _stage(self, choice: StageChoice, index: int, source: int, width_in: int) -> Spent:
        key = ((index, choice), source, width_in)
        if key not in self._counts:
            config = self.space.stage_config(index, choice, source)
            self._counts[key] = self._count(config, index, source, width_in, choice.op, choice.width)
        return self._counts[key]

    def _layer(self, choice: LayerChoice, width_in: int) -> Spent:
        key = (choice, choice.source, width_in)
        if key not in self._counts:
            transition, layer = self.space.layer_config(choice)
            config = StageConfig(layers=(layer,), transition=transition)
            self._counts[key] = self._count(config, choice.stage, choice.source, width_in, choice.op, choice.width)
        return self._counts[key]

    def _count(self, config: StageConfig, index: int, source: int, width_in: int, op: str, width: int) -> Spent:
        where, shape = f"stage {index + 1}, op {op}", Shape(width_in, *self._sizes[source])
        try:
            counted = TABLE.stage(config, shape)
        except ArchitectureError as fault:
            raise SpaceError(f"{self.space.name}, {where}, input width {width_in}: {fault}") from None
        self._agree(counted, where, index, width)
        return self._spent(counted, config, shape)

    def _spent(self, counted: Count, config: BlockConfig | StageConfig, shape: Shape) -> Spent:
        return Spent(counted.macs, counted.params, {name: part(config, shape) for name, part in self._parts.items()})

    def _agree(self, counted: Count, where: str, index: int, width: int) -> None:
        """Checks what sums over paths need: every choice gives maps of its own width, and all of one size."""
        out = Shape(*counted.shape)
        size = self._sizes.setdefault(index, out[1:])
        if out.channels != width:
            raise SpaceError(
                f"{self.space.name}, {where}: its template gives {out.channels} channels where the width is {width}. "
                "Use $width in it."
            )
        if size != out[1:]:
            raise SpaceError(
                f"{self.space.name}, {where}: its choices give maps of different sizes, {sorted({size, out[1:]})}. "
                "Make their strides and paddings agree."
            )
