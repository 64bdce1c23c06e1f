"""What may vary in a space, as values: its stages, their ops, the stem."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import Any, TypeAlias

from nas.spaces.genotype import StageChoice
from nas.spaces.templates import names_in

Choices: TypeAlias = "tuple[tuple[str, tuple[Any, ...]], ...]"
"""Names and values, sorted by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpChoice:
    """One op that a stage may use.

    Attributes:
        first, rest: Templates of the stage's first and its other layers, each the plain data of a layer, or of a run of
            them (`{"layers": [...]}`, of which each may have a `repeat`); `$name` in them stands for a choice, `$width`
            or `$stride`.
        choices: Names and values, sorted by name.
        transition: Template of the block before the first layer; None for none.
        place: In a stage with a choice per layer, where the op may stand: "first" for the stage's first layer alone,
            "rest" for all others, "" for any.
    """

    letter: str
    first: dict[str, Any] = field(hash=False)
    rest: dict[str, Any] = field(hash=False)
    choices: Choices
    transition: dict[str, Any] | None = field(default=None, hash=False)
    place: str = ""

    @property
    def combinations(self) -> list[tuple[Any, ...]]:
        return combinations(self.choices)

    @property
    def is_run(self) -> bool:
        """Whether a unit of the stage's depth may be several layers."""
        return "layers" in self.first or "layers" in self.rest

    def choices_at(self, index: int) -> Choices:
        """The choices that the template of layer `index` uses, those of the transition among the first layer's."""
        return _used(self, index == 0)

    def to_dict(self) -> dict[str, Any]:
        """All that decides what the op may be, as plain data."""
        return {
            "letter": self.letter,
            "first": self.first,
            "rest": self.rest,
            "choices": self.choices,
            **({"transition": self.transition} if self.transition else {}),
            **({"place": self.place} if self.place else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpace:
    """What may vary in one stage.

    Attributes:
        depths: 0 among them: the stage may be absent.
        per_layer: Whether every layer has a letter and choices of its own; else the stage's layers share them.
        width_multiplier: The stage is so many times as wide as its input; 0 where its width is chosen.
    """

    stride: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    ops: tuple[OpChoice, ...]
    per_layer: bool = False
    width_multiplier: int = 0

    def width_after(self, width_in: int, chosen: int) -> int:
        """The stage's width: what was chosen, unless the input width decides."""
        return width_in * self.width_multiplier or chosen

    @property
    def letters(self) -> str:
        return "".join(op.letter for op in self.ops)

    def ops_at(self, index: int) -> tuple[OpChoice, ...]:
        """The ops that layer `index` may be."""
        barred = "first" if index else "rest"
        return tuple(op for op in self.ops if op.place != barred)

    def op(self, letter: str) -> OpChoice:
        return next(op for op in self.ops if op.letter == letter)

    def choices(self, letter: str) -> list[StageChoice]:
        """Every choice with this letter, of a stage whose layers share it."""
        assert not self.per_layer
        every, depths = self.op(letter).combinations, [depth for depth in self.depths if depth]
        return [StageChoice(letter, w, d, p) for w in self.widths for d in depths for p in every]

    def to_dict(self) -> dict[str, Any]:
        """All that decides what the stage may be, as plain data; what it does not use is not there."""
        return {
            "stride": self.stride,
            "widths": self.widths,
            "depths": self.depths,
            "ops": [op.to_dict() for op in self.ops],
            **({"per_layer": True} if self.per_layer else {}),
            **self._multiplier(),
        }

    def _multiplier(self) -> dict[str, Any]:
        if self.width_multiplier > 1:
            return {"times": self.width_multiplier}
        return {"same": True} if self.width_multiplier else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class StemSpace:
    """What may vary in the stem: a template block, and choices among which `width` says its output channels."""

    block: dict[str, Any] = field(hash=False)
    choices: Choices

    @property
    def combinations(self) -> list[tuple[Any, ...]]:
        return combinations(self.choices)

    def width(self, values: tuple[Any, ...]) -> int:
        names = [name for name, _ in self.choices]
        return values[names.index("width")]


def combinations(choices: Choices) -> list[tuple[Any, ...]]:
    """Every way to take one value of each choice."""
    return list(product(*(values for _, values in choices)))


@lru_cache(maxsize=4096)
def _used(op: OpChoice, first: bool) -> Choices:
    names = set(names_in(op.first if first else op.rest))
    if first:
        names |= set(names_in(op.transition))
    return tuple(choice for choice in op.choices if choice[0] in names)
