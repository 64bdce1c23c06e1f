"""Spaces and architectures as users load them: read by `nas.catalog`, checked against the op library."""

from __future__ import annotations

from pathlib import Path

from nas import catalog, ops
from nas.architecture import Architecture
from nas.errors import ArchitectureError
from nas.space import SearchSpace


def load_space(source: str | Path) -> SearchSpace:
    """A search space by the name of a shipped one or the path of a YAML file.

    Raises:
        SpaceError: If it is unknown or not well-formed.
    """
    return catalog.read_space(source, ops)


def load_architecture(source: str | Path) -> Architecture:
    """An architecture by zoo name or path, in its canonical spelling.

    Raises:
        ArchitectureError: If it is unknown or not well-formed.
    """
    architecture, _ = catalog.read_architecture(source)
    try:
        return ops.normalise(architecture)
    except ArchitectureError as fault:
        raise ArchitectureError(f"{source}: {fault}") from None
