"""Space files and zoo files: where they are found, and their strict YAML read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from nas.architecture import Architecture
from nas.errors import ArchitectureError, SpaceError, shortened
from nas.formats import first_few
from nas.registry import unknown
from nas.spaces import OpRules, SearchSpace
from nas.spaces.catalog.parsing import parse_space
from nas.strict_yaml import read_yaml

_LISTED = 6


def folder() -> Path:
    """Where the shipped spaces are: in an installed wheel inside the package, in a checkout beside it."""
    package = Path(__file__).parents[2]
    inside, beside = package / "search_spaces", package.parent / "search_spaces"
    return inside if inside.is_dir() else beside


def space_names() -> list[str]:
    """Names of the shipped spaces."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def zoo_names() -> list[str]:
    """Names of the shipped networks."""
    return sorted(path.stem for path in (folder() / "zoo").glob("*.yaml"))


def find(source: str | Path, *, zoo: bool = False) -> Path:
    """The file of a shipped space (or zoo network), or the user's own file.

    Raises:
        SpaceError, ArchitectureError: If it is neither, with the nearest shipped name.
    """
    error, kind = (ArchitectureError, "network") if zoo else (SpaceError, "space")
    names = zoo_names() if zoo else space_names()
    text = str(source)
    if text in names:
        return folder() / ("zoo" if zoo else "") / f"{text}.yaml"
    path = Path(text)
    exists = "\0" not in text and os.path.exists(path)  # and not Path.exists, which raises for names that are too long
    known = first_few(names, _LISTED)
    if exists or path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        if not exists:
            raise error(f"No file {text[:200]!r}. Give a path to a YAML file or a name: {known}.")
        return path
    if text in (space_names() if zoo else zoo_names()):
        if not zoo:
            raise error(
                f"{text} is a network, not a space: give it to nas train or nas profile, make a space around it with "
                f"`nas spaces derive {text}`, or give one of {known} here."
            )
        raise error(f"{text} is a search space, not a network: give it to nas-search --space, or one of {known} here.")
    raise error(unknown(kind, text, names) + " A path to a YAML file works too.")


def read_architecture(source: str | Path) -> tuple[Architecture, dict[str, Any]]:
    """An architecture and the section `about` of its file, by zoo name or path. Parameters are not checked here."""
    path = find(source, zoo=True)
    data = read_yaml(path, error=ArchitectureError)
    if {"layers", "stages"} <= set(data):
        raise ArchitectureError(f"{path} holds a search space, not a network: give it to nas-search --space.")
    try:
        about = data.get("about", {})
        if not isinstance(about, dict):
            raise ArchitectureError("about must be a mapping.")
        return Architecture.from_dict(data), cast("dict[str, Any]", about)
    except ArchitectureError as fault:
        raise ArchitectureError(f"{path}: {shortened(fault)}") from None


def read_space(source: str | Path, ops: OpRules) -> SearchSpace:
    """A search space by name or path.

    Raises:
        SpaceError: If there is no such file, or anything in it is unknown, missing, empty or of the wrong type.
    """
    path = find(source)
    try:
        return parse_space(read_yaml(path, error=SpaceError), ops)
    except (SpaceError, ArchitectureError) as fault:
        text = shortened(fault)
        raise SpaceError(text if str(path) in text else f"{path}: {text}") from None
