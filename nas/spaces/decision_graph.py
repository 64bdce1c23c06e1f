"""A space as a weighted automaton: nodes are states between decisions, a member is one path from START to END.

A stage whose layers share their choice is one edge; a stage with a choice per layer is an edge per layer and one to
leave it; the stem, an absent stage and the head are edges too. A node holds all that later decisions depend on: the
stage, the width and the source of the map at hand, and, where a rule asks for them, how many layers there are so far
and the last letter. So counting, exact sizes, drawing, cheapest and dearest members are sums over a graph without
cycles, whatever the stages look like.

Edges carry the weights of the *fair* measure: over all members alike, nearly all samples would be the deepest networks,
since these have the most choices. Fair is uniform over each stage's depths, then over the strings of letters that the
stage allows at that depth, then over all other choices; rules between stages (and budgets, later) condition it.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.spaces.choices import combinations
from nas.spaces.genotype import ABSENT, LayerChoice, StageChoice

if TYPE_CHECKING:
    from nas.spaces.search_space import SearchSpace


class Node(NamedTuple):
    """A state between two decisions.

    Attributes:
        stage: The stage that is decided next, or is being filled with layers; one past the last: only the head is left.
        source: The present stage that gave the map at hand; -1 is the stem.
        width: Channels of the map at hand.
        placed: Layers that the stage has so far; 0 between stages.
        total: Layers of the whole network so far, where a rule asks for it, else 0.
        letter: The last layer's letter, where a rule asks for it, else empty.
    """

    stage: int
    source: int
    width: int
    placed: int = 0
    total: int = 0
    letter: str = ""


START, END = Node(-1, -2, 0), Node(-2, -2, 0)


class Edge(NamedTuple):
    """One decision.

    Attributes:
        choice: Values of the stem; a `StageChoice` or `LayerChoice`; `ABSENT`; a `StageChoice` without letters on
            leaving a stage with a choice per layer (its width and depth); None for the head.
        node: Where it leads.
        weight: Its factor in the fair measure.
    """

    choice: Any
    node: Node
    weight: float


class Automaton:
    """The edges of a space, made when they are asked for.

    Args:
        watched: Whether nodes watch over the order of letters even where layouts are listed, so that one graph holds
            all members.
    """

    def __init__(self, space: SearchSpace, *, watched: bool = False) -> None:
        self._space = space
        self._known: dict[tuple[Node, str], list[Edge]] = {}
        # The strings of letters are listed only where all stages share their choice; else nodes watch over the order.
        self._between = "" if space.lists_layouts and not watched else space.op_order
        self._totals = set(space.total_depth)

    def edges(self, node: Node, letter: str = "") -> list[Edge]:
        """The decisions at a node; with a letter, only those of a stage that takes it."""
        key = (node, letter)
        if key not in self._known:
            self._known[key] = list(self._edges(node, letter))
        return self._known[key]

    def _edges(self, node: Node, letter: str) -> Iterator[Edge]:
        space = self._space
        if node == START:
            stems = space.stem.combinations
            for values in stems:
                yield Edge(values, Node(0, -1, space.stem.width(values)), 1 / len(stems))
        elif node.stage == len(space.stages):
            if node.source >= 0 and (not self._totals or node.total in self._totals):
                yield Edge(None, END, 1.0)
        elif node.placed:
            yield from self._next_layers(node)
        else:
            yield from self._entries(node, letter)

    def _entries(self, node: Node, letter: str) -> Iterator[Edge]:
        """What may become of a stage that has no layers yet."""
        space, i = self._space, node.stage
        stage = space.stages[i]
        if 0 in stage.depths:
            yield Edge(ABSENT, node._replace(stage=i + 1), 1 / len(stage.depths))
        if space.contiguous and -1 < node.source < i - 1:
            return
        widths = [w for w in stage.widths if space.follows(node.width, w, i)]
        for op in stage.ops_at(0):
            if not (self._in_order(self._between, node.letter, op.letter) and letter in ("", op.letter)):
                continue
            if stage.per_layer:
                every = combinations(op.choices_at(0))
                weight = self._letter_share(len(stage.ops_at(0))) / (len(stage.widths) * len(every))
                for width in widths:
                    inside = self._inside(i, i, width, 1, node.total, op.letter)
                    if inside is not None:
                        for params in every:
                            yield Edge(LayerChoice(i, 0, node.source, op.letter, width, params), inside, weight)
                continue
            every = op.combinations
            weight = 1.0 / (len(stage.widths) * len(stage.depths) * len(stage.ops) * len(every))
            for width in widths:
                for depth in stage.depths:
                    total = self._total(node.total, depth)
                    if depth and total is not None:
                        after = Node(i + 1, i, width, 0, total, op.letter if self._between else "")
                        for params in every:
                            yield Edge(StageChoice(op.letter, width, depth, params), after, weight)

    def _next_layers(self, node: Node) -> Iterator[Edge]:
        """One more layer of a stage with a choice per layer, or its end."""
        space, i, placed = self._space, node.stage, node.placed
        stage = space.stages[i]
        if placed < stage.depths[-1]:
            for op in stage.ops_at(placed):
                if self._in_order(space.layer_order, node.letter, op.letter):
                    inside = self._inside(i, i, node.width, placed + 1, node.total, op.letter)
                    every = combinations(op.choices_at(placed))
                    weight = self._letter_share(len(stage.ops_at(placed))) / len(every)
                    if inside is not None:
                        for params in every:
                            yield Edge(LayerChoice(i, placed, i, op.letter, node.width, params), inside, weight)
        if placed in stage.depths:
            after = Node(i + 1, i, node.width, 0, node.total, node.letter if self._between else "")
            # Of the strings in order there are fewer than letters ** depth, so that they are weighed as a whole.
            strings = math.comb(placed + len(stage.ops) - 1, placed) if space.layer_order else 1
            yield Edge(StageChoice("", node.width, placed, ()), after, 1 / (len(stage.depths) * strings))

    def _inside(self, stage: int, source: int, width: int, placed: int, total: int, letter: str) -> Node | None:
        more = self._total(total, 1)
        if more is None:
            return None
        watched = letter if self._between or self._space.layer_order else ""
        return Node(stage, source, width, placed, more, watched)

    def _total(self, total: int, more: int) -> int | None:
        if not self._totals:
            return 0
        return total + more if total + more <= max(self._totals) else None

    def _letter_share(self, letters: int) -> float:
        return 1.0 if self._space.layer_order else 1 / letters

    @staticmethod
    def _in_order(order: str, before: str, after: str) -> bool:
        return not order or not before or order.index(before) <= order.index(after)


class Graph:
    """The part of an automaton that members of one layout take.

    Attributes:
        nodes: In an order in which every edge leads forward, from START to END; those alone that a member passes. No
            node at all if there is no member.
        edges: Per node, the decisions that lead on to END.
    """

    def __init__(self, automaton: Automaton, layout: str, *, listed: bool) -> None:
        self.edges: dict[Node, list[Edge]] = {}
        order: list[Node] = []
        alive: dict[Node, bool] = {END: True}
        stack: list[tuple[Node, list[Edge] | None]] = [(START, None)]
        while stack:
            node, found = stack.pop()
            if found is None:
                if node not in alive:
                    letter = layout[node.stage] if listed and 0 <= node.stage < len(layout) else ""
                    found = automaton.edges(node, letter)
                    alive[node] = False
                    stack.append((node, found))
                    stack += [(target, None) for target in dict.fromkeys(edge.node for edge in found)]
            else:
                # Layouts share most lists, and what is worked out from them.
                kept = found if all(alive[edge.node] for edge in found) else [e for e in found if alive[e.node]]
                if kept:
                    alive[node] = True
                    self.edges[node] = kept
                    order.append(node)
        self.nodes = [*reversed(order), END] if alive[START] else []
        self._sums: dict[tuple[Node, bool], list[Any]] = {}

    @cached_property
    def counts(self) -> dict[Node, int]:
        """How many members there are beyond each node, exactly."""
        found = {END: 1}
        for node in reversed(self.nodes[:-1]):
            ways = Counter(edge.node for edge in self.edges[node])
            found[node] = sum(many * found[target] for target, many in ways.items())
        return found

    @cached_property
    def fair(self) -> dict[Node, float]:
        """The fair measure of what is beyond each node."""
        found = {END: 1.0}
        for node in reversed(self.nodes[:-1]):
            found[node] = sum(edge.weight * found[edge.node] for edge in self.edges[node])
        return found

    @property
    def size(self) -> int:
        return self.counts[START] if self.nodes else 0

    def draw(self, rng: random.Random, *, fair: bool) -> list[Any]:
        """The choices of one member, uniformly over all or by the fair measure."""
        node = START
        picked: list[Any] = []
        while node != END:
            edges = self.edges[node]
            sums = self._sums.get((node, fair))
            if sums is None:
                weights = [e.weight * self.fair[e.node] if fair else self.counts[e.node] for e in edges]
                sums = self._sums[node, fair] = list(accumulate(weights))
            ticket = rng.random() * sums[-1] if fair else rng.randrange(sums[-1])
            edge = edges[min(bisect_right(sums, ticket), len(edges) - 1)]
            picked.append(edge.choice)
            node = edge.node
        return picked
