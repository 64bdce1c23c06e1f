"""What tables of blocks share: values on disk in the user's cache, and the refusal of a block that cannot run."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.architecture import BlockConfig, BranchConfig, op_names
from nas.errors import ArchitectureError
from nas.networks.imported_ops import digests_of
from nas.ops import Shape
from nas.strict_yaml import canonical_json


def read_cached(path: Path) -> dict[str, Any]:
    """Returns what a cache file holds; nothing if there is none or it is damaged."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def add_cached(path: Path, fresh: Mapping[str, Any]) -> bool:
    """Adds values to a cache file; returns whether that worked. A cache that cannot be written only costs time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        merged = {**read_cached(path), **fresh}
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
            json.dump(merged, file)
        os.replace(file.name, path)
    except OSError:
        return False
    return True


def cache_key(config: BlockConfig | BranchConfig, *more: Any) -> str:
    """Returns the name of a value on disk: another one where the file of an imported op is another.

    Args:
        more: Plain data that the value depends on beside the block.
    """
    plain = config.to_dict()
    written = canonical_json([plain, *more, *digests_of(op_names(plain))])
    return hashlib.sha256(written.encode()).hexdigest()[:20]


def tuples(items: Any) -> Any:
    """Returns nested lists, as JSON has them, as tuples."""
    return tuple(tuples(item) for item in items) if isinstance(items, list) else items


def cannot_run(config: BlockConfig | BranchConfig, shape: Shape, fault: Exception) -> ArchitectureError:
    """Returns the refusal of a block that torch cannot run on inputs of a shape."""
    name = config.mixer.op if isinstance(config, BranchConfig) else config.op
    reason = " ".join(str(fault).split())[:160].rstrip(".")
    return ArchitectureError(
        f"{name} cannot run on {tuple(shape[:3])} (channels, height, width): {reason}. Check its norm, shortcut and "
        "sizes."
    )
