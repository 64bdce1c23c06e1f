"""A search space: what may vary in a network, as values; membership, exact size, drawing, variation.

A space is a chain: the stem, then stages, then the head. At every stage one *op* (a letter, such as C or A) is chosen
with a width, a depth and the op's own choices; they apply to all layers of the stage. What couples the stages are the
rules (the order of the letters, the growth of the widths) and the width that one hands to the next, so counting,
drawing and proving are sums over a chain with the width as its state.

`Architecture` is the program, `Genotype` the point in the space that encodes it.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise, product
from typing import Any, NamedTuple, Protocol

from nas.architecture import Architecture, BlockConfig, InputConfig, LayerConfig, StageConfig
from nas.errors import SpaceError
from nas.strict_yaml import canonical_json
from nas.templates import fill

MAX_LAYOUTS = 4096
MAX_TRIES = 200


class OpRules(Protocol):
    """What a space needs to know of ops: their canonical spelling, and whether parameters make sense."""

    def normalise_block(self, block: BlockConfig, where: str) -> BlockConfig: ...

    def normalise_layer(self, layer: LayerConfig, where: str) -> LayerConfig: ...


class StageChoice(NamedTuple):
    """The genes of one stage: `params` are values of the op's choices, in the order of their names."""

    op: str
    width: int
    depth: int
    params: tuple[Any, ...]


class Genotype(NamedTuple):
    """One point of a space: values of the stem's choices (in order of their names), then the stages."""

    stem: tuple[Any, ...]
    stages: tuple[StageChoice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpChoice:
    """One op that a stage may use.

    Attributes:
        first, rest: Templates (plain data of a layer) of the stage's first and its other layers; `$name` in them
            stands for a choice, `$width` or `$stride`.
        choices: Names and values, sorted by name.
    """

    letter: str
    first: dict[str, Any] = field(hash=False)
    rest: dict[str, Any] = field(hash=False)
    choices: tuple[tuple[str, tuple[Any, ...]], ...]

    @property
    def combinations(self) -> list[tuple[Any, ...]]:
        return list(product(*(values for _, values in self.choices)))


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpace:
    """What may vary in one stage."""

    stride: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    ops: tuple[OpChoice, ...]

    def op(self, letter: str) -> OpChoice:
        return next(op for op in self.ops if op.letter == letter)

    def choices(self, letter: str) -> list[StageChoice]:
        """Every choice with this letter."""
        combinations = self.op(letter).combinations
        return [StageChoice(letter, w, d, p) for w in self.widths for d in self.depths for p in combinations]


@dataclass(frozen=True, slots=True, kw_only=True)
class StemSpace:
    """What may vary in the stem: a template block, and choices among which `width` says its output channels."""

    block: dict[str, Any] = field(hash=False)
    choices: tuple[tuple[str, tuple[Any, ...]], ...]

    @property
    def combinations(self) -> list[tuple[Any, ...]]:
        return list(product(*(values for _, values in self.choices)))

    def width(self, values: tuple[Any, ...]) -> int:
        names = [name for name, _ in self.choices]
        return values[names.index("width")]


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """A search space. Build one from YAML with `nas.load_space`.

    Attributes:
        op_order: Letters in the order in which stages may use them ("CA": no convolution after attention); empty for
            any order.
        growing: Whether widths must not shrink from the stem to the last stage.
        ops: The op library's rules, handed in by whoever loads the space.
    """

    name: str
    input: InputConfig
    stem: StemSpace
    stages: tuple[StageSpace, ...]
    head: BlockConfig
    op_order: str = ""
    growing: bool = True
    presets: tuple[str, ...] = ()
    about: str = ""
    ops: OpRules = field(repr=False, compare=False, hash=False)

    # -- what it holds ------------------------------------------------------------------------------------------

    @cached_property
    def layouts(self) -> tuple[str, ...]:
        """Every allowed string of letters, one per stage, such as CCAA."""
        rank = {letter: i for i, letter in enumerate(self.op_order)}
        strings = [""]
        for stage in self.stages:
            letters = [op.letter for op in stage.ops]
            strings = [s + c for s in strings for c in letters if not rank or not s or rank[s[-1]] <= rank[c]]
            if len(strings) > MAX_LAYOUTS:
                raise SpaceError(f"{self.name} has more than {MAX_LAYOUTS} layouts. Give rules.op_order or fewer ops.")
        return tuple(strings)

    def follows(self, width_in: int, width: int) -> bool:
        """Whether a stage of `width` may follow one of `width_in`."""
        return width >= width_in or not self.growing

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over all that decides the space's members; equal in every process."""
        return hashlib.sha256(canonical_json(self.to_dict()).encode()).hexdigest()[:16]

    def size(self, layout: str | None = None) -> int:
        """The exact number of architectures, of one layout or of all."""
        if layout is None:
            return sum(self.size(each) for each in self.layouts)
        table = self._counts(layout)[0]
        return sum(table.get(self.stem.width(values), 0) for values in self.stem.combinations)

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
        return Architecture(
            input=self.input,
            stem=self.stem_block(genotype.stem),
            stages=tuple(self.stage_config(i, choice) for i, choice in enumerate(genotype.stages)),
            head=self.head,
        )

    def encode(self, architecture: Architecture) -> Genotype:
        """The genotype of a member.

        Raises:
            SpaceError: If the architecture is no member, saying where it leaves the space.
        """
        if len(architecture.stages) != len(self.stages):
            raise SpaceError(
                f"Not in space {self.name}: it has {len(architecture.stages)} stages, the space {len(self.stages)}."
            )
        stems = {self.stem_block(values): values for values in self.stem.combinations}
        if architecture.stem not in stems:
            raise SpaceError(f"Not in space {self.name}: no choice gives the stem {architecture.stem.to_dict()}.")
        genes: list[StageChoice] = []
        for i, stage in enumerate(architecture.stages):
            choice = self._inverse[i].get(stage)
            if choice is None:
                raise SpaceError(f"Not in space {self.name}: no choice of stage {i + 1} gives its layers.")
            genes.append(choice)
        genotype = Genotype(stems[architecture.stem], tuple(genes))
        if not self.valid(genotype):
            raise SpaceError(f"Not in space {self.name}: layout {self.layout(genotype)} or its widths break a rule.")
        if architecture.with_classes(2).head != self.head.having({"num_classes": 2}):
            raise SpaceError(f"Not in space {self.name}: its head differs.")
        return genotype

    def valid(self, genotype: Genotype) -> bool:
        """Whether the rules that couple stages hold."""
        widths = [self.stem.width(genotype.stem), *(choice.width for choice in genotype.stages)]
        return self.layout(genotype) in self.layouts and all(self.follows(a, b) for a, b in pairwise(widths))

    @staticmethod
    def layout(genotype: Genotype) -> str:
        return "".join(choice.op for choice in genotype.stages)

    def stem_block(self, values: tuple[Any, ...]) -> BlockConfig:
        key = ("stem", values)
        if key not in self._cache:
            names = {name: value for (name, _), value in zip(self.stem.choices, values, strict=True)}
            self._cache[key] = self.ops.normalise_block(BlockConfig.from_dict(fill(self.stem.block, names)), "stem")
        return self._cache[key]

    def stage_config(self, index: int, choice: StageChoice) -> StageConfig:
        """The stage that a choice stands for; equal choices give the same object."""
        key = (index, choice)
        found = self._cache.get(key)
        if found is None:
            stage = self.stages[index]
            op = stage.op(choice.op)
            names = {name: value for (name, _), value in zip(op.choices, choice.params, strict=True)}
            names |= {"width": choice.width, "stride": stage.stride}
            where = f"{self.name}, stage {index + 1}, op {choice.op}"
            first, rest = (
                self.ops.normalise_layer(LayerConfig.from_dict(fill(template, names), where), where)
                for template in (op.first, op.rest)
            )
            found = self._cache[key] = StageConfig(layers=(first,) + (rest,) * (choice.depth - 1))
        return found

    # -- drawing and variation ----------------------------------------------------------------------------------

    def sample(self, rng: random.Random, *, by: str = "layout") -> Architecture:
        """Draws a member, without a budget.

        Args:
            by: "layout" draws a layout uniformly, then uniformly within it; "architecture" draws uniformly over all
                architectures, where the layouts with the most choices crowd out the others.
        """
        if by not in ("layout", "architecture"):
            raise SpaceError(f"by must be 'layout' or 'architecture', not {by!r}.")
        weights = [1 if by == "layout" else self.size(layout) for layout in self.layouts]
        return self.decode(self.sample_genotype(rng, _pick(rng, self.layouts, weights)))

    def sample_genotype(self, rng: random.Random, layout: str) -> Genotype:
        """Draws uniformly within one layout."""
        counts = self._counts(layout)
        stems = self.stem.combinations
        stem = _pick(rng, stems, [counts[0].get(self.stem.width(values), 0) for values in stems])
        genes: list[StageChoice] = []
        width = self.stem.width(stem)
        for i, stage in enumerate(self.stages):
            fitting = [w for w in stage.widths if self.follows(width, w)]
            width = _pick(rng, fitting, [counts[i + 1].get(w, 0) for w in fitting])
            params = rng.choice(stage.op(layout[i]).combinations)
            genes.append(StageChoice(layout[i], width, rng.choice(stage.depths), params))
        return Genotype(stem, tuple(genes))

    def mutate(self, architecture: Architecture, rng: random.Random) -> Architecture:
        """A member that differs from the given member in one gene (and in what the rules make follow from it)."""
        parent = self.encode(architecture)
        for _ in range(MAX_TRIES):
            position = rng.randrange(len(self.stages) + 1)
            if position == 0:
                child = parent._replace(stem=rng.choice(self.stem.combinations))
            else:
                genes = list(parent.stages)
                genes[position - 1] = self._mutate_stage(position - 1, genes[position - 1], rng)
                child = parent._replace(stages=tuple(genes))
            if child != parent and self.valid(child):
                return self.decode(child)
        return architecture

    def crossover(self, first: Architecture, second: Architecture, rng: random.Random) -> Architecture:
        """A member that takes its stem and every stage from one of two members, at random."""
        a, b = self.encode(first), self.encode(second)
        for _ in range(MAX_TRIES):
            stages = tuple(rng.choice(pair) for pair in zip(a.stages, b.stages, strict=True))
            child = Genotype(rng.choice((a.stem, b.stem)), stages)
            if self.valid(child):
                return self.decode(child)
        return first

    # -- other spaces made from it ------------------------------------------------------------------------------

    def adapted(
        self, *, resolution: int | None = None, channels: int | None = None, num_classes: int | None = None
    ) -> SearchSpace:
        """The same choices for another image size, number of input channels or number of classes."""
        changed = InputConfig(channels=channels or self.input.channels, resolution=resolution or self.input.resolution)
        head = self.head.having({"num_classes": num_classes}) if num_classes else self.head
        return replace(self, input=changed, head=head)

    def restricted(self, genotypes_of: list[set[Any]]) -> SearchSpace:
        """The sub-space of the values that occur in the given choices.

        Args:
            genotypes_of: For the stem, then every stage, the set of stem values or `StageChoice`s to keep.
        """
        stem = replace(self.stem, choices=_narrow(self.stem.choices, genotypes_of[0]))
        stages: list[StageSpace] = []
        for stage, kept in zip(self.stages, genotypes_of[1:], strict=True):
            ops = tuple(
                replace(op, choices=_narrow(op.choices, {c.params for c in kept if c.op == op.letter}))
                for op in stage.ops
                if any(c.op == op.letter for c in kept)
            )
            widths = tuple(w for w in stage.widths if any(c.width == w for c in kept))
            depths = tuple(d for d in stage.depths if any(c.depth == d for c in kept))
            stages.append(replace(stage, ops=ops, widths=widths, depths=depths))
        return replace(self, stem=stem, stages=tuple(stages))

    def to_dict(self) -> dict[str, Any]:
        """All that decides the members, as plain data (the digest's input; not the format of space files)."""
        return {
            "name": self.name,
            "input": self.input.to_dict(),
            "stem": {"block": self.stem.block, "choices": self.stem.choices},
            "stages": [
                {
                    "stride": stage.stride,
                    "widths": stage.widths,
                    "depths": stage.depths,
                    "ops": [
                        {"letter": op.letter, "first": op.first, "rest": op.rest, "choices": op.choices}
                        for op in stage.ops
                    ],
                }
                for stage in self.stages
            ],
            "head": self.head.to_dict(),
            "op_order": self.op_order,
            "growing": self.growing,
        }

    # -- inside -------------------------------------------------------------------------------------------------

    @cached_property
    def _cache(self) -> dict[Any, Any]:
        return {}

    @cached_property
    def _inverse(self) -> list[dict[StageConfig, StageChoice]]:
        return [
            {self.stage_config(i, choice): choice for op in stage.ops for choice in stage.choices(op.letter)}
            for i, stage in enumerate(self.stages)
        ]

    def _counts(self, layout: str) -> list[dict[int, int]]:
        """Per stage, how many ways there are to go on from each incoming width; one entry more for the head."""
        known = self._cache.get(("counts", layout))
        if known is None:
            widths: dict[int, int] = dict.fromkeys(self.stages[-1].widths, 1)
            known = [widths]
            for i in range(len(self.stages) - 1, -1, -1):
                stage = self.stages[i]
                each = len(stage.op(layout[i]).combinations) * len(stage.depths)
                before = self.stages[i - 1].widths if i else [self.stem.width(v) for v in self.stem.combinations]
                widths = {
                    w_in: sum(each * known[0].get(w, 0) for w in stage.widths if self.follows(w_in, w))
                    for w_in in before
                }
                known.insert(0, widths)
            self._cache["counts", layout] = known
        return known

    def _mutate_stage(self, index: int, choice: StageChoice, rng: random.Random) -> StageChoice:
        stage = self.stages[index]
        op = stage.op(choice.op)
        gene = rng.choice(["op", "width", "depth", *(name for name, _ in op.choices)])
        if gene == "width":
            return choice._replace(width=rng.choice(stage.widths))
        if gene == "depth":
            return choice._replace(depth=rng.choice(stage.depths))
        if gene == "op":
            other = rng.choice(stage.ops)
            old = dict(zip((name for name, _ in op.choices), choice.params, strict=True))
            kept = [old[n] if old.get(n) in values else rng.choice(values) for n, values in other.choices]
            return choice._replace(op=other.letter, params=tuple(kept))
        params = [
            rng.choice(values) if name == gene else value
            for (name, values), value in zip(op.choices, choice.params, strict=True)
        ]
        return choice._replace(params=tuple(params))


def _narrow(choices: tuple[tuple[str, tuple[Any, ...]], ...], kept: set[tuple[Any, ...]]) -> Any:
    return tuple(
        (name, tuple(value for value in values if any(combination[i] == value for combination in kept)))
        for i, (name, values) in enumerate(choices)
    )


def _pick(rng: random.Random, items: Any, weights: list[int]) -> Any:
    """One item with probability proportional to its whole-number weight, exactly, however large the weights are."""
    ticket = rng.randrange(sum(weights))
    for item, weight in zip(items, weights, strict=True):
        if ticket < weight:
            return item
        ticket -= weight
    raise AssertionError("weights changed while picking")
