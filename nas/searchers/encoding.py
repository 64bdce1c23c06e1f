"""Encoding of genotypes as vectors for a Gaussian process: numbers by their logarithm, other choices one-hot."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np

from nas.spaces import Genotype, SearchSpace, StageChoice, StageSpace


class Encoding:
    """The decisions of a space as columns, in groups.

    A numeric decision (width, depth, kernel size) is one column from -0.5 to 0.5, by the logarithms of its values; any
    other is one-hot, with distance 1 between two values. Decisions that a genotype lacks, such as the kernel size of an
    attention stage, are 0, the middle. A stage with a choice per layer has columns for every layer, and one for the
    share of each letter.

    Attributes:
        groups: (F,) the group of each column, numbered from 0: one for each decision of the stem, and for each stage
            one for its width, its depth, its ops and each choice of its ops by name.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        names: dict[str, int] = {}
        groups: list[int] = []
        self._entries: dict[tuple[str, Hashable], tuple[int, float]] = {}
        for decision, group, values in _decisions(space):
            coordinates = _coordinates(values)
            for k, value in enumerate(values):
                # Columns of a one-hot decision follow each other.
                column = len(groups) + (k if coordinates is None else 0)
                height = math.sqrt(0.5) if coordinates is None else coordinates[k]
                self._entries[decision, value] = column, height
            number = names.setdefault(group, len(names))
            groups += [number] * (len(values) if coordinates is None else 1)
        self.groups = np.array(groups, dtype=int)

    def points(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        """Returns genotypes as points (N, F)."""
        found = np.zeros((len(genotypes), len(self.groups)))
        for row, genotype in zip(found, genotypes, strict=True):
            for decision in self._chosen(genotype):
                # A decision with only one value has no column.
                entry = self._entries.get(decision)
                if entry is not None:
                    row[entry[0]] = entry[1]
        return found

    def _chosen(self, genotype: Genotype) -> Iterator[tuple[str, Any]]:
        space = self._space
        for (name, _), value in zip(space.stem.choices, genotype.stem, strict=True):
            yield f"stem.{name}", value
        for i, (stage, gene) in enumerate(zip(space.stages, genotype.stages, strict=True), start=1):
            yield f"stage{i}.depth", gene.depth
            if gene.depth:
                yield f"stage{i}.width", gene.width
                yield from _chosen_ops(f"stage{i}", stage, gene)


def _chosen_ops(place: str, stage: StageSpace, gene: StageChoice) -> Iterator[tuple[str, Any]]:
    if not stage.per_layer:
        yield f"{place}.op", gene.op
        for (name, _), value in zip(stage.op(gene.op).choices, gene.params, strict=True):
            yield f"{place}.{gene.op}.{name}", value
        return
    for letter in stage.letters:
        yield f"{place}.{letter}", gene.op.count(letter)
    for k, (letter, params) in enumerate(zip(gene.op, gene.params, strict=True)):
        yield f"{place}.layer{k + 1}.op", letter
        for (name, _), value in zip(stage.op(letter).choices_at(k), params, strict=True):
            yield f"{place}.layer{k + 1}.{letter}.{name}", value


def _decisions(space: SearchSpace) -> Iterator[tuple[str, str, Sequence[Any]]]:
    """Yields every decision with several values: its name, its group's name, the values."""
    for decision, group, values in _all_decisions(space):
        if len(values) > 1:
            yield decision, group, values


def _all_decisions(space: SearchSpace) -> Iterator[tuple[str, str, Sequence[Any]]]:
    for name, values in space.stem.choices:
        yield f"stem.{name}", f"stem.{name}", values
    for i, stage in enumerate(space.stages, start=1):
        place = f"stage{i}"
        # A width that follows from the previous stage is not a decision.
        yield f"{place}.width", f"{place}.width", () if stage.width_multiplier else stage.widths
        yield f"{place}.depth", f"{place}.depth", stage.depths
        if not stage.per_layer:
            yield f"{place}.op", f"{place}.op", stage.letters
            for op in stage.ops:
                for name, values in op.choices:
                    yield f"{place}.{op.letter}.{name}", f"{place}.{name}", values
            continue
        for letter in stage.letters if len(stage.letters) > 1 else ():
            yield f"{place}.{letter}", f"{place}.op", range(stage.depths[-1] + 1)
        for k in range(stage.depths[-1]):
            yield f"{place}.layer{k + 1}.op", f"{place}.op", [op.letter for op in stage.ops_at(k)]
            for op in stage.ops_at(k):
                for name, values in op.choices_at(k):
                    yield f"{place}.layer{k + 1}.{op.letter}.{name}", f"{place}.{name}", values


def _coordinates(values: Sequence[Any]) -> list[float] | None:
    """Returns positive numbers scaled by their logarithms from -0.5 to 0.5; None for other values."""
    if not all(type(value) in (int, float) and value >= 0 for value in values):
        return None
    logs = [math.log(value) if min(values) > 0 else math.log1p(value) for value in values]
    return [(log - min(logs)) / (max(logs) - min(logs)) - 0.5 for log in logs]
