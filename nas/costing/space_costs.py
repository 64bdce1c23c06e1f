"""What every choice of a space costs, position by position: the sums that budgets are about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from nas.budget import Cost
from nas.costing.table import TABLE
from nas.errors import ArchitectureError, SpaceError
from nas.ops import Shape
from nas.space import Genotype, SearchSpace


class Option(NamedTuple):
    """One choice at one position of the chain, entered with a given width."""

    choice: Any
    width: int
    macs: int
    params: int


class SpaceCosts:
    """Exact costs of all members of a space, as a sum over the chain stem, stages, head.

    Attributes:
        positions: One more than the stages have, the head being added to the last stage.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._options: dict[tuple[int, int, str], list[Option]] = {}
        size = space.input.resolution
        entry = Shape(space.input.channels, size, size)
        self.stems: list[Option] = []
        sizes: set[tuple[int, ...]] = set()
        for values in space.stem.combinations:
            try:
                counted = TABLE.block(space.stem_block(values), entry)
            except ArchitectureError as fault:
                raise SpaceError(f"{space.name}, stem: {fault}") from None
            self._agree("stem", Shape(*counted.shape), space.stem.width(values), sizes)
            self.stems.append(Option(values, counted.shape[0], counted.macs, counted.params))
        self._sizes = list(sizes)
        for i in range(len(space.stages)):
            stage = space.stages[i]
            widths = {option.width for option in self.stems} if i == 0 else set(space.stages[i - 1].widths)
            first = stage.choices(stage.ops[0].letter)[0]
            width_in = min(widths)
            try:
                counted = TABLE.stage(space.stage_config(i, first), Shape(width_in, *self._sizes[i]))
            except ArchitectureError as fault:
                raise SpaceError(f"{space.name}, stage {i + 1}, input width {width_in}: {fault}") from None
            self._sizes.append(Shape(*counted.shape)[1:])
        self.positions = len(space.stages) + 1

    @property
    def total_stride(self) -> int:
        """How many times smaller the last feature map is than the image."""
        return round(self.space.input.resolution / self._sizes[-1][0])

    def options(self, index: int, width_in: int, letter: str) -> list[Option]:
        """The choices of stage `index` with an op's letter, after a stage of `width_in`; empty if none may follow.

        Raises:
            SpaceError: If a layer cannot be built, naming the stage and the numbers.
        """
        key = (index, width_in, letter)
        if key not in self._options:
            space = self.space
            shape = Shape(width_in, *self._sizes[index])
            options = []
            for choice in space.stages[index].choices(letter):
                if not space.follows(width_in, choice.width):
                    continue
                try:
                    macs, params, out = TABLE.stage(space.stage_config(index, choice), shape)
                except ArchitectureError as fault:
                    raise SpaceError(
                        f"{space.name}, stage {index + 1}, op {letter}, input width {width_in}: {fault}"
                    ) from None
                where = f"stage {index + 1}, op {letter}"
                self._agree(where, Shape(*out), choice.width, {self._sizes[index + 1]})
                if index == len(space.stages) - 1:
                    head = TABLE.block(space.head, Shape(*out))
                    macs, params = macs + head.macs, params + head.params
                options.append(Option(choice, choice.width, macs, params))
            self._options[key] = options
        return self._options[key]

    def _agree(self, where: str, out: Shape, width: int, sizes: set[tuple[int, ...]]) -> None:
        """Sums over a chain hold only if every choice hands on its own width, and maps of one size."""
        sizes.add(out[1:])
        if out.channels != width:
            raise SpaceError(
                f"{self.space.name}, {where}: its template gives {out.channels} channels where the width is {width}. "
                "Use $width in it."
            )
        if len(sizes) > 1:
            raise SpaceError(
                f"{self.space.name}, {where}: its choices give maps of different sizes, {sorted(sizes)}. Make their "
                "strides and paddings agree."
            )

    def cost(self, genotype: Genotype) -> Cost:
        """The exact cost of one member."""
        stem = next(option for option in self.stems if option.choice == genotype.stem)
        macs, params, width = stem.macs, stem.params, stem.width
        for i, choice in enumerate(genotype.stages):
            option = next(o for o in self.options(i, width, choice.op) if o.choice == choice)
            macs, params, width = macs + option.macs, params + option.params, option.width
        return Cost(macs=macs, params=params)

    def widths_before(self, index: int) -> list[int]:
        """The widths with which stage `index` may be entered."""
        return sorted({o.width for o in self.stems} if index == 0 else set(self.space.stages[index - 1].widths))

    def everything(self) -> Iterator[tuple[int, int, str, list[Option]]]:
        """Every (stage index, width in, letter) with its options; counts them all."""
        for i, stage in enumerate(self.space.stages):
            for width_in in self.widths_before(i):
                for op in stage.ops:
                    yield i, width_in, op.letter, self.options(i, width_in, op.letter)
