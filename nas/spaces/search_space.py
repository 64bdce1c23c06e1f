"""A search space: membership, exact size, drawing, and other spaces made from it.

A space is a sequence of stages between a stem and a head. In most stages one *op* (a letter, such as C or A) is chosen
with a width, a depth and the op's own choices for all layers; in a stage with `per_layer` every layer has a letter and
choices of its own. What couples the stages are the rules and the width that one passes to the next;
`nas.spaces.decision_graph` has them as a graph, in which counting, drawing and proving are sums over paths.

`Architecture` is the program, `Genotype` the point in the space that encodes it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

from nas.architecture import Architecture, BlockConfig, InputConfig, LayerConfig, StageConfig
from nas.errors import SpaceError
from nas.file_formats import digest_of
from nas.spaces import variation
from nas.spaces.choices import StageSpace, StemSpace
from nas.spaces.decision_graph import Automaton, Graph
from nas.spaces.encoder import Encoder
from nas.spaces.genotype import Genotype, LayerChoice, StageChoice
from nas.spaces.templates import fill, names_in

MAX_LAYOUTS = 4096
MANY = "*"
"""The one entry of `layouts` where strings of letters are too many to list."""


class OpRules(Protocol):
    """What a space needs to know of ops: their canonical spelling, and whether parameters make sense."""

    def normalize_block(self, block: BlockConfig, where: str) -> BlockConfig: ...

    def normalize_layer(self, layer: LayerConfig, where: str) -> LayerConfig: ...


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """A search space. Build one from YAML with `nas.load_space`.

    Attributes:
        op_order: Letters in the order in which stages may use them ("CA": no convolution after attention); empty for
            any order. Of a stage with a choice per layer, its first and its last letter count.
        head: Its parameters may say `$width`; see `head_block`.
        growing: Whether widths must not shrink from the stem to the last stage.
        multiples: Whether every width must be a multiple of the one before it.
        layer_order: The same as `op_order` among the layers of one stage with a choice per layer.
        total_depth: How many layers all stages together may have; empty for any number.
        contiguous: Whether no absent stage may lie between present ones.
        ops: The op library's rules, passed in by whoever loads the space.
    """

    name: str
    input: InputConfig
    stem: StemSpace
    stages: tuple[StageSpace, ...]
    head: BlockConfig
    op_order: str = ""
    growing: bool = True
    layer_order: str = ""
    total_depth: tuple[int, ...] = ()
    contiguous: bool = False
    multiples: bool = False
    presets: tuple[str, ...] = ()
    about: str = ""
    ops: OpRules = field(repr=False, compare=False, hash=False)

    # -- what it holds ------------------------------------------------------------------------------------------

    @cached_property
    def lists_layouts(self) -> bool:
        """Whether layouts are listed: all stages share their choice among their layers, and none may be absent."""
        return not any(stage.per_layer or 0 in stage.depths for stage in self.stages)

    @cached_property
    def layouts(self) -> tuple[str, ...]:
        """Every allowed string of letters, one per stage, such as CCAA; `MANY` alone if it lists no layouts."""
        if not self.lists_layouts:
            return (MANY,)
        rank = {letter: i for i, letter in enumerate(self.op_order)}
        strings = [""]
        for stage in self.stages:
            strings = [s + c for s in strings for c in stage.letters if not rank or not s or rank[s[-1]] <= rank[c]]
            if len(strings) > MAX_LAYOUTS:
                raise SpaceError(f"{self.name} has more than {MAX_LAYOUTS} layouts. Give rules.op_order or fewer ops.")
        return tuple(strings)

    def follows(self, width_in: int, width: int, stage: int | None = None) -> bool:
        """Whether a stage of `width` may follow one of `width_in`; of the given stage, whether it may be so itself."""
        if stage is not None and self.stages[stage].width_multiplier:
            return width == self.stages[stage].width_after(width_in, 0)
        if self.multiples:
            return width % width_in == 0
        return width >= width_in or not self.growing

    def stride(self, stage: int, source: int) -> int:
        """How much smaller a stage's map is than that of `source`, the last present stage before it (-1: the stem)."""
        return math.prod(each.stride for each in self.stages[source + 1 : stage + 1])

    def graph(self, layout: str) -> Graph:
        """The members of a layout (or of all, for `MANY`) as paths through a graph."""
        key = ("graph", layout)
        if key not in self._cache:
            self._cache[key] = Graph(self._automaton, layout, listed=self.lists_layouts)
        return self._cache[key]

    @cached_property
    def whole_graph(self) -> Graph:
        """All members as paths through one graph, whether layouts are listed or not."""
        return Graph(Automaton(self, watched=True), MANY, listed=False)

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over all that decides the space's members; equal in every process."""
        return digest_of(self.to_dict())

    def size(self, layout: str | None = None) -> int:
        """The exact number of architectures, of one layout or of all."""
        return sum(self.graph(each).size for each in ([layout] if layout else self.layouts))

    def contains(self, architecture: Architecture) -> bool:
        """Whether the architecture is a member, whatever its resolution, input channels and classes."""
        try:
            self.encode(architecture)
        except SpaceError:
            return False
        return True

    # -- genotypes ----------------------------------------------------------------------------------------------

    def decode(self, genotype: Genotype) -> Architecture:
        """The architecture of a genotype that `valid` accepts."""
        stages: list[StageConfig] = []
        source = -1
        for i, choice in enumerate(genotype.stages):
            if choice.depth:
                stages.append(self.stage_config(i, choice, source))
                source = i
        stem, head = self.stem_block(genotype.stem), self.head_block(genotype.stages[source].width)
        return Architecture(input=self.input, stem=stem, stages=tuple(stages), head=head)

    def encode(self, architecture: Architecture) -> Genotype:
        """The genotype of a member.

        Raises:
            SpaceError: If the architecture is no member, saying where it leaves the space.
        """
        return self.encoder.encode(architecture)

    def valid(self, genotype: Genotype) -> bool:
        """Whether the rules on depths, orders and widths hold."""
        return not self.broken(genotype)

    def broken(self, genotype: Genotype) -> int:
        """How many times a genotype breaks a rule."""
        faults, total, source, width, letter = 0, 0, -1, self.stem.width(genotype.stem), ""
        for i, (stage, gene) in enumerate(zip(self.stages, genotype.stages, strict=True)):
            faults += gene.depth not in stage.depths
            if not gene.depth:
                continue
            faults += not self.follows(width, gene.width, i)
            faults += _shrinks(self.op_order, letter + gene.op[0])
            faults += _shrinks(self.layer_order, gene.op) if stage.per_layer else 0
            faults += sum(stage.op(letter).place == ("first" if k else "rest") for k, letter in enumerate(gene.op))
            faults += self.contiguous and -1 < source < i - 1
            total, source, width, letter = total + gene.depth, i, gene.width, gene.op[-1]
        return faults + bool(self.total_depth and total not in self.total_depth) + (source < 0)

    def layout(self, genotype: Genotype) -> str:
        """The letters of a member: one per stage (CCAA), or per layer with stages set apart (C-CC-CCA)."""
        return ("" if self.lists_layouts else "-").join(choice.op for choice in genotype.stages)

    def stem_block(self, values: tuple[Any, ...]) -> BlockConfig:
        key = ("stem", values)
        if key not in self._cache:
            names = {name: value for (name, _), value in zip(self.stem.choices, values, strict=True)}
            self._cache[key] = self.ops.normalize_block(BlockConfig.from_dict(fill(self.stem.block, names)), "stem")
        return self._cache[key]

    def head_block(self, width: int) -> BlockConfig:
        """The head after a map of so many channels."""
        if not self.head_varies:
            return self.head
        key = ("head", width)
        if key not in self._cache:
            block = BlockConfig.from_dict(fill(self.head.to_dict(), {"width": width}), "head")
            classes = {"num_classes": block.get("num_classes")}
            self._cache[key] = self.ops.normalize_block(block, f"{self.name}, head").having(classes)
        return self._cache[key]

    @cached_property
    def head_varies(self) -> bool:
        """Whether the head is a template in which `$width` stands for the width of the map before it."""
        return "width" in set(names_in(self.head.to_dict()))

    def stage_config(self, index: int, choice: StageChoice, source: int | None = None) -> StageConfig:
        """The stage that a choice stands for; equal choices give the same object.

        Args:
            source: The last present stage before it, if that is not the one before.
        """
        source = index - 1 if source is None else source
        key = (index, choice, source)
        found = self._cache.get(key)
        if found is None:
            stage = self.stages[index]
            parts: list[tuple[BlockConfig | None, tuple[LayerConfig, ...]]] = []
            for place in range(choice.depth):
                letter, params = choice.op, choice.params
                if stage.per_layer:
                    letter, params = choice.op[place], choice.params[place]
                parts.append(self.run_config(LayerChoice(index, place, source, letter, choice.width, params)))
            found = StageConfig(layers=tuple(layer for _, run in parts for layer in run), transition=parts[0][0])
            if not stage.per_layer:
                self._cache[key] = found
        return found

    def layer_config(self, choice: LayerChoice) -> tuple[BlockConfig | None, LayerConfig]:
        """The layer that a choice stands for (the first, if that is a run of them), and the transition before it."""
        transition, run = self.run_config(choice)
        return transition, run[0]

    def run_config(self, choice: LayerChoice) -> tuple[BlockConfig | None, tuple[LayerConfig, ...]]:
        """The layers that a choice stands for, of which there are several where the template has a run of them."""
        stage, first = self.stages[choice.stage], choice.place == 0
        stride = self.stride(choice.stage, choice.source) if first else 1
        key = (choice.stage, first, stride, choice.op, choice.width, choice.params)
        found = self._cache.get(key)
        if found is None:
            op = stage.op(choice.op)
            named = op.choices_at(choice.place) if stage.per_layer else op.choices
            names = {name: value for (name, _), value in zip(named, choice.params, strict=True)}
            names |= {"width": choice.width, "stride": stride}
            where = f"{self.name}, stage {choice.stage + 1}, op {choice.op}"
            data = fill(op.first if first else op.rest, names)
            run = (
                StageConfig.from_dict(data, where).layers if "layers" in data else (LayerConfig.from_dict(data, where),)
            )
            if not run:
                raise SpaceError(f"{where}: a run needs at least one layer.")
            transition = None
            if op.transition and first:
                block = BlockConfig.from_dict(fill(op.transition, names), f"{where}, transition")
                transition = self.ops.normalize_block(block, f"{where}, transition")
            found = self._cache[key] = transition, tuple(self.ops.normalize_layer(layer, where) for layer in run)
        return found

    def genotype(self, picked: Iterable[Any]) -> Genotype:
        """The genotype of the choices along a path of `graph`."""
        stem, *choices = picked
        if self.lists_layouts:
            return Genotype(stem, tuple(choices[:-1]))
        genes: list[StageChoice] = []
        layers: list[LayerChoice] = []
        for choice in choices:
            if isinstance(choice, LayerChoice):
                layers.append(choice)
            elif layers:
                op = "".join(layer.op for layer in layers)
                genes.append(choice._replace(op=op, params=tuple(layer.params for layer in layers)))
                layers = []
            elif choice is not None:
                genes.append(choice)
        return Genotype(stem, tuple(genes))

    def choices_of(self, genotypes: Iterable[Genotype]) -> list[set[Any]]:
        """For the stem, then each stage, the choices along the paths of these members."""
        found: list[set[Any]] = [set() for _ in range(len(self.stages) + 1)]
        for genotype in genotypes:
            found[0].add(genotype.stem)
            source = -1
            for i, (stage, gene) in enumerate(zip(self.stages, genotype.stages, strict=True)):
                found[i + 1].add(gene._replace(op="", params=()) if stage.per_layer else gene)
                if stage.per_layer:
                    for k, (letter, params) in enumerate(zip(gene.op, gene.params, strict=True)):
                        found[i + 1].add(LayerChoice(i, k, i if k else source, letter, gene.width, params))
                source = i if gene.depth else source
        return found

    # -- drawing and variation ----------------------------------------------------------------------------------

    def sample(self, rng: random.Random, *, by: str = "layout") -> Architecture:
        """Samples a member, without a budget.

        Args:
            by: "layout" samples a layout uniformly, then uniformly within it; without listed layouts it samples by
                the fair measure of `nas.spaces.decision_graph`. "architecture" samples uniformly over all members,
                where the layouts with the most choices (and the greatest depths) crowd out the others.
        """
        if by not in ("layout", "architecture"):
            raise SpaceError(f"by must be 'layout' or 'architecture', not {by!r}.")
        layout = rng.choice(self.layouts)
        if by == "architecture" and len(self.layouts) > 1:
            ticket, sizes = rng.randrange(self.size()), iter(self.layouts)
            layout = next(sizes)
            while ticket >= self.size(layout):
                ticket -= self.size(layout)
                layout = next(sizes)
        return self.decode(self.sample_genotype(rng, layout, fair=by == "layout"))

    def sample_genotype(self, rng: random.Random, layout: str, *, fair: bool = True) -> Genotype:
        """Samples uniformly within one layout; of `MANY`, by the fair measure if `fair`, else uniformly over all."""
        return self.genotype(self.graph(layout).draw(rng, fair=fair and not self.lists_layouts))

    def mutate(self, architecture: Architecture, rng: random.Random) -> Architecture:
        """A member that differs from the given member in one gene (and in what the rules make follow from it)."""
        parent = self.encode(architecture)
        child = variation.mutated(self, parent, rng)
        return architecture if child == parent else self.decode(child)

    def crossover(self, first: Architecture, second: Architecture, rng: random.Random) -> Architecture:
        """A member that takes its stem and every stage (or, per layer, its first layers) from one of two members."""
        a = self.encode(first)
        child = variation.crossed(self, a, self.encode(second), rng)
        return first if child == a else self.decode(child)

    # -- other spaces made from it ------------------------------------------------------------------------------

    def adapted(
        self, *, resolution: int | None = None, channels: int | None = None, num_classes: int | None = None
    ) -> SearchSpace:
        """The same choices for another image size, number of input channels or number of classes."""
        changed = InputConfig(channels=channels or self.input.channels, resolution=resolution or self.input.resolution)
        head = self.head.having({"num_classes": num_classes}) if num_classes else self.head
        return replace(self, input=changed, head=head)

    def to_dict(self) -> dict[str, Any]:
        """All that decides the members, as plain data (the digest's input; not the format of space files)."""
        rules = {
            "layer_order": self.layer_order,
            "total_depth": self.total_depth,
            "contiguous": self.contiguous,
            "multiples": self.multiples,
        }
        return {
            "name": self.name,
            "input": self.input.to_dict(),
            "stem": {"block": self.stem.block, "choices": self.stem.choices},
            "stages": [stage.to_dict() for stage in self.stages],
            "head": self.head.to_dict(),
            "op_order": self.op_order,
            "growing": self.growing,
            # What a space does not use is not in its digest, which so outlives new kinds of rules.
            **{name: value for name, value in rules.items() if value},
        }

    # -- inside -------------------------------------------------------------------------------------------------

    @cached_property
    def encoder(self) -> Encoder:
        """What finds the choices that gave a stage its layers."""
        return Encoder(self)

    @cached_property
    def _cache(self) -> dict[Any, Any]:
        return {}

    @cached_property
    def _automaton(self) -> Automaton:
        return Automaton(self)


def _shrinks(order: str, letters: str) -> int:
    """How often a letter comes before one that must precede it."""
    return sum(order.index(a) > order.index(b) for a, b in pairwise(letters)) if order else 0


def present_stages(layout: str, stages: int) -> list[int]:
    """Returns the numbers, from 1, that a member's stages have in its space, of which some may be absent.

    Args:
        layout: Of the member; see `SearchSpace.layout`.
        stages: As many as the member has.
    """
    places = [number for number, letters in enumerate(layout.split("-"), start=1) if letters]
    return places if len(places) == stages else [*range(1, stages + 1)]
