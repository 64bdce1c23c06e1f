"""The architectures of many trials as small tables: equal parts are written once, and others name them by number."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

from nas import ops
from nas.architecture import Architecture, StageConfig
from nas.costs.count_table import TABLE
from nas.costs.profiling import stage_letter
from nas.errors import NasError
from nas.file_formats import FORMAT

Map: TypeAlias = tuple[int | None, int | None, int | None]
"""Channels, height and width; None where they are not known."""


@dataclass(slots=True)
class ArchitectureTable:
    """Architectures by their parts.

    Attributes:
        pieces: Plain mappings and lists; a mapping or list inside one is written `[n]`, the number of its own piece.
        stages: Each distinct stage at one size of map: the number of its piece, its letter or one per layer, its depth,
            and channels, height and width of its output, None for ops that this version does not have.
        characters: Length of all this as JSON.
    """

    pieces: list[dict[str, Any] | list[Any]] = field(default_factory=list)
    stages: list[tuple[int, str, int, int | None, int | None, int | None]] = field(default_factory=list)
    characters: int = 0
    _by_text: dict[str, int] = field(default_factory=dict)
    _by_stage: dict[tuple[StageConfig, Map], int] = field(default_factory=dict)

    def add(self, architecture: Architecture) -> tuple[int, list[int]]:
        """Returns the number of the piece of all but the stages, and the numbers of the stages."""
        rest = {
            "format": FORMAT,
            "input": architecture.input.to_dict(),
            "stem": architecture.stem.to_dict(),
            "head": architecture.head.to_dict(),
        }
        maps = stage_maps(architecture)
        stages = [self._stage(stage, map_) for stage, map_ in zip(architecture.stages, maps, strict=True)]
        self.characters += 6 * (1 + len(stages))
        return self._piece(rest), stages

    def _stage(self, stage: StageConfig, map_: Map) -> int:
        number = self._by_stage.get((stage, map_))
        if number is None:
            number = self._by_stage[stage, map_] = len(self.stages)
            letters = stage_letter(stage) if stage.layers else ""
            self.stages.append((self._piece(stage.to_dict()), letters, len(stage.layers), *map_))
            self.characters += len(letters) + 30
        return number

    def _piece(self, value: dict[str, Any] | list[Any]) -> int:
        if isinstance(value, dict):
            piece: dict[str, Any] | list[Any] = {key: self._part(part) for key, part in value.items()}
        else:
            piece = [self._part(part) for part in value]
        text = json.dumps(piece, separators=(",", ":"))
        number = self._by_text.get(text)
        if number is None:
            number = self._by_text[text] = len(self.pieces)
            self.pieces.append(piece)
            self.characters += len(text) + 1
        return number

    def _part(self, value: Any) -> Any:
        return [self._piece(value)] if isinstance(value, dict | list) else value


@lru_cache(maxsize=20_000)  # the charts and the effects ask for the same trials
def stage_maps(architecture: Architecture) -> list[Map]:
    """Returns the size of each stage's output; None of ops that this version lacks or that do not fit."""
    try:
        # A record may be of a later version, or written by another program: unknown parameters are errors of the check.
        rows = TABLE.architecture(ops.normalize(architecture))
    except NasError:
        return [(None, None, None)] * len(architecture.stages)
    return [(row.shape[0], row.shape[1], row.shape[2]) for _, row in rows[1:-1]]
