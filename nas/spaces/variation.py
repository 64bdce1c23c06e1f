"""Mutation and crossover of genotypes, inside the rules of their space."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.spaces.choices import Choices, OpChoice, StageSpace
from nas.spaces.genotype import ABSENT, Genotype, StageChoice

if TYPE_CHECKING:
    from nas.spaces.search_space import SearchSpace

MAX_TRIES = 200


class _Layer(NamedTuple):
    """A layer apart from its place: its letter, and values of its choices by name."""

    op: str
    values: dict[str, Any]


def mutated(space: SearchSpace, parent: Genotype, rng: random.Random) -> Genotype:
    """A member one gene away: the stem, or of a stage its width, its depth, a letter or a value of a choice.

    Where the number of layers is fixed, a layer more in one stage is a layer less in another. The parent itself comes
    back if nothing else was found.
    """
    for _ in range(MAX_TRIES):
        position = rng.randrange(len(space.stages) + 1) - 1
        if position < 0:
            child = following(space, rng.choice(space.stem.combinations), parent.stages)
        else:
            genes = list(parent.stages)
            genes[position] = _changed(space.stages[position], genes[position], rng)
            child = following(space, parent.stem, _balanced(space, genes, position, rng))
        if child != parent and space.valid(child):
            return child
    return parent


def crossed(space: SearchSpace, first: Genotype, second: Genotype, rng: random.Random) -> Genotype:
    """A member with the stem and every stage of one of two, or the first layers of one and the others of the other.

    The latter only in spaces with choices per layer. The first parent comes back if nothing valid was found.
    """
    layered = any(stage.per_layer for stage in space.stages)
    for _ in range(MAX_TRIES):
        if layered and rng.random() < 0.5:
            stages = _spliced(space, first, second, rng)
        else:
            stages = tuple(rng.choice(pair) for pair in zip(first.stages, second.stages, strict=True))
        child = following(space, rng.choice((first.stem, second.stem)), stages)
        if space.valid(child):
            return child
    return first


def following(space: SearchSpace, stem: tuple[Any, ...], genes: Sequence[StageChoice]) -> Genotype:
    """A genotype in which stages whose width follows from their input have that."""
    width = space.stem.width(stem)
    found: list[StageChoice] = []
    for stage, gene in zip(space.stages, genes, strict=True):
        found.append(gene._replace(width=stage.width_after(width, gene.width)) if gene.depth else gene)
        width = found[-1].width or width
    return Genotype(stem, tuple(found))


def _changed(stage: StageSpace, gene: StageChoice, rng: random.Random) -> StageChoice:
    """A stage's genes with one of them sampled again (which may give the same)."""
    if not gene.depth:
        return _resized(stage, gene, rng.choice(stage.depths), rng)
    if stage.per_layer:
        return _changed_layers(stage, gene, rng)
    op = stage.op(gene.op)
    name = rng.choice(["op", "width", "depth", *(name for name, _ in op.choices)])
    if name == "width":
        return gene._replace(width=rng.choice(stage.widths))
    if name == "depth":
        return _resized(stage, gene, rng.choice(stage.depths), rng)
    if name == "op":
        other = rng.choice(stage.ops)
        return gene._replace(op=other.letter, params=_values(other.choices, _named(op.choices, gene.params), rng))
    params = [
        rng.choice(values) if each == name else value
        for (each, values), value in zip(op.choices, gene.params, strict=True)
    ]
    return gene._replace(params=tuple(params))


def _changed_layers(stage: StageSpace, gene: StageChoice, rng: random.Random) -> StageChoice:
    layers = _layers(stage, gene)
    at = rng.randrange(gene.depth)
    choices = stage.op(gene.op[at]).choices_at(at)
    kinds = ["width"] * (len(stage.widths) > 1 and not stage.width_multiplier) + ["depth"] * (len(stage.depths) > 1)
    kinds += ["op"] * (len(stage.ops) > 1) + ["value"] * any(len(values) > 1 for _, values in choices)
    kind = rng.choice(kinds or ["width"])
    if kind == "width":
        return gene._replace(width=rng.choice(stage.widths))
    if kind == "depth":
        # To a neighbour among the depths, so that most of the stage stays as it is.
        place = stage.depths.index(gene.depth) + rng.choice((-1, 1))
        return _resized(stage, gene, stage.depths[min(max(place, 0), len(stage.depths) - 1)], rng)
    if kind == "op":
        layers[at] = layers[at]._replace(op=rng.choice(stage.ops_at(at)).letter)
    else:
        name, values = rng.choice(choices)
        layers[at] = layers[at]._replace(values={**layers[at].values, name: rng.choice(values)})
    return _stage(stage, gene.width, layers, rng)


def _resized(stage: StageSpace, gene: StageChoice, depth: int, rng: random.Random) -> StageChoice:
    """The stage with so many layers: removed or inserted anywhere where each has its own choices."""
    if not depth:
        return ABSENT
    if gene.depth and not stage.per_layer:
        return gene._replace(depth=depth)
    if not gene.depth and not stage.per_layer:
        op = rng.choice(stage.ops)
        return StageChoice(op.letter, rng.choice(stage.widths), depth, _values(op.choices, {}, rng))
    layers = _layers(stage, gene)
    # A layer of a kind that alone may open the stage stays where it is.
    opened = any(op.place for op in stage.ops)
    while len(layers) > depth:
        layers.pop(rng.randrange(min(opened, len(layers) - 1), len(layers)))
    while len(layers) < depth:
        at = rng.randint(min(opened, len(layers)), len(layers))
        layers.insert(at, _Layer(rng.choice(stage.ops_at(at)).letter, {}))
    return _stage(stage, gene.width or rng.choice(stage.widths), layers, rng)


def _balanced(space: SearchSpace, genes: list[StageChoice], position: int, rng: random.Random) -> list[StageChoice]:
    """The stages with another one resized, if the one at `position` has made the network too deep or too shallow."""
    total = sum(gene.depth for gene in genes)
    if not space.total_depth or total in space.total_depth:
        return genes
    ways = [
        (i, gene.depth + wanted - total)
        for i, gene in enumerate(genes)
        for wanted in space.total_depth
        if i != position and gene.depth + wanted - total in space.stages[i].depths
    ]
    if ways:
        i, depth = rng.choice(ways)
        genes[i] = _resized(space.stages[i], genes[i], depth, rng)
    return genes


def _spliced(space: SearchSpace, first: Genotype, second: Genotype, rng: random.Random) -> tuple[StageChoice, ...]:
    """The first layers of one network, then those of the other from the same number on."""
    ahead, behind = (
        [(i, layer) for i, gene in enumerate(each.stages) for layer in _layers(space.stages[i], gene)]
        for each in (first, second)
    )
    cut = rng.randint(0, min(len(ahead), len(behind)))
    # Sorted for parents whose stages begin elsewhere: layers keep their stage, and rules decide on the rest.
    joined = sorted(ahead[:cut] + behind[cut:], key=lambda pair: pair[0])
    parts = {i: [layer for _, layer in run] for i, run in groupby(joined, key=lambda pair: pair[0])}
    widths = {i: gene.width for i, gene in enumerate(second.stages)} | {
        i: first.stages[i].width for i, _ in ahead[:cut]
    }
    return tuple(
        _stage(stage, widths[i], parts[i], rng) if i in parts else ABSENT for i, stage in enumerate(space.stages)
    )


def _layers(stage: StageSpace, gene: StageChoice) -> list[_Layer]:
    if not stage.per_layer:
        choices = stage.op(gene.op).choices if gene.depth else ()
        return [_Layer(gene.op, _named(choices, gene.params))] * gene.depth
    return [
        _Layer(letter, _named(stage.op(letter).choices_at(i), params))
        for i, (letter, params) in enumerate(zip(gene.op, gene.params, strict=True))
    ]


def _stage(stage: StageSpace, width: int, layers: list[_Layer], rng: random.Random) -> StageChoice:
    """A stage of these layers; values that a layer lacks at its new place are sampled."""
    if not stage.per_layer:
        op: OpChoice = stage.op(layers[0].op)
        return StageChoice(op.letter, width, len(layers), _values(op.choices, layers[0].values, rng))
    params = [_values(stage.op(layer.op).choices_at(i), layer.values, rng) for i, layer in enumerate(layers)]
    return StageChoice("".join(layer.op for layer in layers), width, len(layers), tuple(params))


def _named(choices: Choices, values: tuple[Any, ...]) -> dict[str, Any]:
    return {name: value for (name, _), value in zip(choices, values, strict=True)}


def _values(choices: Choices, known: dict[str, Any], rng: random.Random) -> tuple[Any, ...]:
    return tuple(known[n] if n in known and known[n] in values else rng.choice(values) for n, values in choices)
