"""Costs as sums of look-ups: every branch is counted once and remembered, in memory and on disk.

A count depends on the op's source, so the files are keyed by a hash of it. Counts of the shipped spaces come with the
package (`counts.json`, made by `python -m nas.costing.ship`); others go to the user's cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from nas import catalog
from nas.architecture import Architecture, BlockConfig, BranchConfig, StageConfig
from nas.budget import Cost
from nas.costing.counter import Count, count
from nas.errors import ArchitectureError
from nas.ops import Shape, make
from nas.strict_yaml import canonical_json

SHIPPED = Path(__file__).with_name("counts.json")


@lru_cache(maxsize=1)
def source_hash() -> str:
    """A hash of the source that counts depend on: the op library, the model's grammar, the counter."""
    package = Path(catalog.__file__).parent
    files = [
        *sorted((package / "ops").glob("*.py")),
        package / "model.py",
        package / "costing" / "counter.py",
    ]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]


def cache_file() -> Path:
    """Where counts are kept between runs: under $NAS_CACHE, else the user's cache folder."""
    root = (
        os.environ.get("NAS_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hybrid-nas"
    )
    return Path(root) / f"counts-{source_hash()}.json"


class CountTable:
    """Remembers the counts of branches and blocks by config and input shape."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[Any, Shape], Count] = {}
        self._stages: dict[tuple[StageConfig, Shape], Count] = {}
        self._stored: dict[str, list[Any]] | None = None
        self._fresh: dict[str, list[Any]] = {}

    def block(self, config: BlockConfig | BranchConfig, shape: Shape) -> Count:
        """Counts one block, or one branch with its norm and shortcut, for one image of `shape`."""
        key = (config, shape)
        found = self._blocks.get(key)
        if found is None:
            found = self._blocks[key] = self._load_or_count(config, shape)
        return found

    def stage(self, stage: StageConfig, shape: Shape) -> Count:
        """Counts one stage."""
        key = (stage, shape)
        found = self._stages.get(key)
        if found is None:
            parts = [] if stage.transition is None else [stage.transition]
            parts += [branch for layer in stage.layers for branch in layer.branches]
            macs = params = 0
            for part in parts:
                counted = self.block(part, shape)
                macs, params, shape = macs + counted.macs, params + counted.params, Shape(*counted.shape)
            found = self._stages[key] = Count(macs, params, shape)
        return found

    def architecture(self, architecture: Architecture) -> list[tuple[str, Count]]:
        """Counts the stem, every stage and the head."""
        size = architecture.input.resolution
        shape = Shape(architecture.input.channels, size, size)
        rows = [("stem", self.block(architecture.stem, shape))]
        for i, stage in enumerate(architecture.stages):
            try:
                rows.append((f"stage {i + 1}", self.stage(stage, Shape(*rows[-1][1].shape))))
            except ArchitectureError as fault:
                raise ArchitectureError(f"stage {i + 1}: {fault}") from None
        rows.append(("head", self.block(architecture.head, Shape(*rows[-1][1].shape))))
        return rows

    def save(self) -> None:
        """Writes new counts to the user's cache; a cache that cannot be written only costs time."""
        if not self._fresh:
            return
        path = cache_file()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            merged = {**_read(path), **self._fresh}
            with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
                json.dump(merged, file)
            os.replace(file.name, path)
        except OSError:
            return
        self._fresh.clear()

    def _load_or_count(self, config: BlockConfig | BranchConfig, shape: Shape) -> Count:
        if self._stored is None:
            self._stored = {**_read(SHIPPED), **_read(cache_file())}
        key = count_key(config, shape)
        found = self._stored.get(key)
        if found is not None:
            return Count(found[0], found[1], tuple(found[2]))
        with torch.device("meta"):
            data = config.to_dict()
            counted = count(
                make({"op": "residual", **data} if isinstance(config, BranchConfig) else data, shape), shape
            )
        self._fresh[key] = [counted.macs, counted.params, list(counted.shape)]
        return counted


def count_key(config: BlockConfig | BranchConfig, shape: Shape) -> str:
    """The name of a count on disk."""
    return hashlib.sha256(canonical_json([config.to_dict(), list(shape)]).encode()).hexdigest()[:20]


TABLE = CountTable()


def cost(architecture: Architecture) -> Cost:
    """Exact multiply-adds (attention included, one image at the architecture's resolution) and parameters.

    Raises:
        ArchitectureError: If the stages do not fit one another, naming the stage and the numbers.
    """
    rows = TABLE.architecture(architecture)
    return Cost(macs=sum(row.macs for _, row in rows), params=sum(row.params for _, row in rows))


def _read(path: Path) -> dict[str, list[Any]]:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if path == SHIPPED:
        return data["counts"] if isinstance(data, dict) and data.get("source") == source_hash() else {}
    return data if isinstance(data, dict) else {}
