"""What one member of a space chose, as values: the genotype and its parts."""

from __future__ import annotations

from typing import Any, NamedTuple


class StageChoice(NamedTuple):
    """The genes of one stage.

    A stage with one choice for all its layers has one letter as `op`, and `params` are values of the op's choices in
    the order of their names. A stage with a choice per layer has one letter per layer, and `params` has one such tuple
    per layer. `ABSENT` stands for a stage of no layers.
    """

    op: str
    width: int
    depth: int
    params: tuple[Any, ...]


ABSENT = StageChoice("", 0, 0, ())


class LayerChoice(NamedTuple):
    """What one layer of a stage with a choice per layer is.

    Attributes:
        stage, place: The stage's number and the layer's in it, both from 0.
        source: The stage whose map it reads: its own, but for a first layer the last present one; -1 is the stem.
        params: Values of the op's choices that its template uses at this place, in the order of their names.
    """

    stage: int
    place: int
    source: int
    op: str
    width: int
    params: tuple[Any, ...]


class Genotype(NamedTuple):
    """One point of a space: values of the stem's choices (in order of their names), then the stages."""

    stem: tuple[Any, ...]
    stages: tuple[StageChoice, ...]
