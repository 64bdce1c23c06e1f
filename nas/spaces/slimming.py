"""The slimming actions on a genotype: each makes one part of the network smaller by one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nas.spaces.choices import Choices, StageSpace
from nas.spaces.genotype import ABSENT, Genotype, StageChoice
from nas.spaces.variation import following

if TYPE_CHECKING:
    from nas.spaces.search_space import SearchSpace


def slimmed(space: SearchSpace, parent: Genotype) -> list[Genotype]:
    """Returns the members one slimming action away, each once, always in the same order.

    An action drops a layer (or a unit of depth), narrows a stage or the stem to the next width, or takes the next
    smaller number of a choice, such as an expansion ratio: for a whole stage, or for one layer where each has its own.
    """
    found = [following(space, stem, parent.stages) for stem in _smaller(space.stem.choices, parent.stem)]
    for i, (stage, gene) in enumerate(zip(space.stages, parent.stages, strict=True)):
        for slim in _of_stage(stage, gene):
            stages = (*parent.stages[:i], slim, *parent.stages[i + 1 :])
            found.append(following(space, parent.stem, stages))
    return [each for each in dict.fromkeys(found) if each != parent and space.valid(each)]


def _of_stage(stage: StageSpace, gene: StageChoice) -> Iterator[StageChoice]:
    if not gene.depth:
        return
    if not stage.width_multiplier:
        for width in _below(stage.widths, gene.width):
            yield gene._replace(width=width)
    depths = _below(stage.depths, gene.depth)
    if not stage.per_layer:
        for depth in depths:
            yield gene._replace(depth=depth) if depth else ABSENT
        for params in _smaller(stage.op(gene.op).choices, gene.params):
            yield gene._replace(params=params)
        return
    for depth in depths:
        yield from _shortened(stage, gene, depth)
    for at, (letter, params) in enumerate(zip(gene.op, gene.params, strict=True)):
        for fewer in _smaller(stage.op(letter).choices_at(at), params):
            yield gene._replace(params=(*gene.params[:at], fewer, *gene.params[at + 1 :]))


def _shortened(stage: StageSpace, gene: StageChoice, depth: int) -> Iterator[StageChoice]:
    """Yields a stage with a choice per layer without some adjacent layers, wherever the others may still stand."""
    if not depth:
        yield ABSENT
        return
    dropped = gene.depth - depth
    for at in range(depth + 1):
        op, params = gene.op[:at] + gene.op[at + dropped :], [*gene.params[:at], *gene.params[at + dropped :]]
        if any(stage.op(letter) not in stage.ops_at(i) for i, letter in enumerate(op)):
            continue
        # The template of a first layer may have other choices than the rest, so a layer may not be able to lead.
        if all(len(stage.op(letter).choices_at(i)) == len(params[i]) for i, letter in enumerate(op)):
            yield StageChoice(op, gene.width, depth, tuple(params))


def _smaller(choices: Choices, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """Yields the values with one number the next smaller of its choice."""
    for i, ((_, options), value) in enumerate(zip(choices, values, strict=True)):
        for smaller in _below(options, value):
            yield (*values[:i], smaller, *values[i + 1 :])


def _below(options: Sequence[Any], value: Any) -> list[Any]:
    """Returns the next smaller number, in a list that is empty if there is none."""
    if not _is_number(value):
        return []
    less = [option for option in options if _is_number(option) and option < value]
    return [max(less)] if less else []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
