"""Costs as sums of cached counts: every branch is counted once and remembered, in memory and on disk.

A count depends on the op's source, so the files are keyed by a hash of it. Counts of the shipped spaces come with the
package (`counts.json`, made by `python -m nas.costs.ship`); others go to the user's cache folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from nas.architecture import Architecture, BlockConfig, BranchConfig, StageConfig
from nas.budget import Cost
from nas.costs.block_cache import add_cached, cache_key, cannot_run, read_cached, tuples
from nas.costs.counter import Count, count
from nas.errors import ArchitectureError
from nas.machine import cache_folder
from nas.networks.network import make_part
from nas.op_sources import source_hash
from nas.ops import Shape

SHIPPED = Path(__file__).with_name("counts.json")


def cache_file() -> Path:
    """Returns the file that keeps counts between runs, in the user's cache folder."""
    return cache_folder() / f"counts-{source_hash()}.json"


class CountTable:
    """Cache of the counts of branches and blocks by config and input shape."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[Any, Shape], Count] = {}
        self._stages: dict[tuple[StageConfig, Shape], Count] = {}
        self._stored: dict[str, list[Any]] | None = None
        self._fresh: dict[str, list[Any]] = {}

    def block(self, config: BlockConfig | BranchConfig, shape: Shape) -> Count:
        """Returns the count of one block, or one branch with its norm and shortcut, for one image of `shape`."""
        key = (config, shape)
        found = self._blocks.get(key)
        if found is None:
            found = self._blocks[key] = self._load_or_count(config, shape)
        return found

    def stage(self, stage: StageConfig, shape: Shape) -> Count:
        """Returns the count of one stage."""
        key = (stage, shape)
        found = self._stages.get(key)
        if found is None:
            parts = [] if stage.transition is None else [stage.transition]
            parts += [branch for layer in stage.layers for branch in layer.branches]
            macs = params = 0
            unsupported: Counter[str] = Counter()
            for part in parts:
                counted = self.block(part, shape)
                macs, params, shape = macs + counted.macs, params + counted.params, Shape(*counted.shape)
                unsupported.update(dict(counted.unsupported))
            found = self._stages[key] = Count(macs, params, shape, tuple(sorted(unsupported.items())))
        return found

    def architecture(self, architecture: Architecture) -> list[tuple[str, Count]]:
        """Returns the counts of the stem, every stage and the head, with their names."""
        return list(self.parts(architecture))

    def parts(self, architecture: Architecture) -> Iterator[tuple[str, Count]]:
        """Yields the counts of the stem, every stage and the head, with their names, as each is counted.

        Raises:
            ArchitectureError: If the stages do not fit one another, naming the stage and the numbers.
        """
        size = architecture.input.resolution
        shape = Shape(architecture.input.channels, size, size)
        parts: list[tuple[str, BlockConfig | StageConfig]] = [("stem", architecture.stem)]
        parts += [(f"stage {i}", stage) for i, stage in enumerate(architecture.stages, start=1)]
        parts.append(("head", architecture.head))
        for name, part in parts:
            try:
                counted = self.stage(part, shape) if isinstance(part, StageConfig) else self.block(part, shape)
            except ArchitectureError as fault:
                raise ArchitectureError(f"{name} (its input {'x'.join(map(str, shape[:3]))}): {fault}") from None
            yield name, counted
            shape = Shape(*counted.shape)

    def save(self) -> None:
        """Writes new counts to the user's cache; a cache that cannot be written only costs time."""
        if self._fresh and add_cached(cache_file(), self._fresh):
            self._fresh.clear()

    def _load_or_count(self, config: BlockConfig | BranchConfig, shape: Shape) -> Count:
        if self._stored is None:
            self._stored = {**_shipped(), **read_cached(cache_file())}
        key = count_key(config, shape)
        found = self._stored.get(key)
        if found is not None:
            return Count(*map(tuples, found))
        try:
            with torch.device("meta"):
                counted = count(make_part(config, shape), shape)
        except (RuntimeError, IndexError) as fault:  # of torch: blocks that do not fit one another, or beyond any size
            raise cannot_run(config, shape, fault) from None
        self._fresh[key] = list(counted)
        return counted


def count_key(config: BlockConfig | BranchConfig, shape: Shape) -> str:
    """Returns the name of a count on disk."""
    return cache_key(config, list(shape))


TABLE = CountTable()


def cost(architecture: Architecture) -> Cost:
    """Returns exact multiply-adds (attention included, one image at its resolution) and parameters of an architecture.

    Raises:
        ArchitectureError: If the stages do not fit one another, naming the stage and the numbers.
    """
    rows = TABLE.architecture(architecture)
    return Cost(macs=sum(row.macs for _, row in rows), params=sum(row.params for _, row in rows))


def _shipped() -> dict[str, Any]:
    """Returns the counts that come with the package; none if they are of another source."""
    data = read_cached(SHIPPED)
    return data["counts"] if data.get("source") == source_hash() else {}
