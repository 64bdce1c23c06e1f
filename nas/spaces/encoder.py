"""From a network back to the choices that gave it its layers."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from nas.architecture import Architecture, BlockConfig, LayerConfig, StageConfig
from nas.errors import SpaceError
from nas.spaces.choices import combinations
from nas.spaces.genotype import ABSENT, Genotype, LayerChoice, StageChoice

if TYPE_CHECKING:
    from nas.spaces.search_space import SearchSpace


class Encoder:
    """What choices a space's layers come from, worked out when it is asked for."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._known: dict[Any, Any] = {}

    def encode(self, architecture: Architecture) -> Genotype:
        """The genotype of a member; see `SearchSpace.encode`."""
        space = self._space
        least = sum(0 not in stage.depths for stage in space.stages)
        if not least <= len(architecture.stages) <= len(space.stages):
            wanted = f"{least} to {len(space.stages)}" if least < len(space.stages) else str(least)
            raise SpaceError(
                f"Not in space {space.name}: it has {len(architecture.stages)} stages, the space {wanted}."
            )
        stems = self._stems
        if architecture.stem not in stems:
            raise SpaceError(f"Not in space {space.name}: no choice gives the stem {architecture.stem.to_dict()}.")
        genes: list[StageChoice] = []
        source, width = -1, space.stem.width(stems[architecture.stem])
        for number, stage in enumerate(architecture.stages, start=1):
            while True:
                i = len(genes)
                choice = self._choice_of(i, source, width, stage) if i < len(space.stages) else None
                if choice is not None:
                    genes.append(choice)
                    source, width = i, choice.width
                    break
                if i >= len(space.stages) or 0 not in space.stages[i].depths:
                    raise SpaceError(f"Not in space {space.name}: no choice of stage {number} gives its layers.")
                genes.append(ABSENT)
        genes += [ABSENT] * (len(space.stages) - len(genes))
        genotype = Genotype(stems[architecture.stem], tuple(genes))
        if not space.valid(genotype):
            raise SpaceError(f"Not in space {space.name}: layout {space.layout(genotype)} or its widths break a rule.")
        if architecture.with_classes(2).head != space.head_block(width).having({"num_classes": 2}):
            raise SpaceError(f"Not in space {space.name}: its head differs.")
        return genotype

    @cached_property
    def _stems(self) -> dict[BlockConfig, tuple[Any, ...]]:
        return {self._space.stem_block(values): values for values in self._space.stem.combinations}

    def _choice_of(self, index: int, source: int, width_in: int, config: StageConfig) -> StageChoice | None:
        """The choice that gives a stage its layers, if there is one."""
        stage = self._space.stages[index]
        known = self.beginnings(index, source, width_in)
        begun = known.get((config.transition, config.layers[0])) if config.layers else None
        if begun is None:
            return None
        first, *_ = begun
        if not stage.per_layer:
            lengths = stage.depths if stage.op(first.op).is_run else [len(config.layers)]
            choices = (each._replace(depth=depth) for each in begun for depth in lengths if depth)
            return next((each for each in choices if self._space.stage_config(index, each, source) == config), None)
        op, params = first.op, [first.params]
        for layer in config.layers[1:]:
            found = self.continuations(index, first.width).get(layer)
            if found is None:
                return None
            op, params = op + found.op, [*params, found.params]
        return StageChoice(op, first.width, len(config.layers), tuple(params))

    def beginnings(self, index: int, source: int, width_in: int) -> dict[Any, list[Any]]:
        """By transition and first layer of a stage, the choices (of depth 1, or of the first layer) that give them.

        A stage that keeps its width may not say so in its layers, so there the input width distinguishes choices.
        """
        stage = self._space.stages[index]
        widths = [stage.width_after(width_in, 0)] if stage.width_multiplier else stage.widths
        key = ("first", index, self._space.stride(index, source), *widths)
        if key not in self._known:
            found: dict[Any, list[Any]] = {}
            for op in stage.ops_at(0):
                for width in widths:
                    for params in combinations(op.choices_at(0)) if stage.per_layer else op.combinations:
                        layer = LayerChoice(index, 0, source, op.letter, width, params)
                        choice = layer if stage.per_layer else StageChoice(op.letter, width, 1, params)
                        found.setdefault(self._space.layer_config(layer), []).append(choice)
            self._known[key] = found
        return self._known[key]

    def continuations(self, index: int, width: int) -> dict[LayerConfig, LayerChoice]:
        """By layer, the choice that gives it after the first of a stage with a choice per layer."""
        key = ("rest", index, width)
        if key not in self._known:
            choices = [
                LayerChoice(index, 1, index, op.letter, width, params)
                for op in self._space.stages[index].ops_at(1)
                for params in combinations(op.choices_at(1))
            ]
            self._known[key] = {self._space.layer_config(choice)[1]: choice for choice in choices}
        return self._known[key]
