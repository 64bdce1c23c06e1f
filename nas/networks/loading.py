"""Loading of spaces and architectures: read by `nas.spaces.catalog`, checked against the op library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas import ops
from nas.architecture import Architecture, BlockConfig, InputConfig
from nas.errors import ArchitectureError, SpaceError, shortened
from nas.file_formats import digest_of_format_1
from nas.spaces import OpChoice, SearchSpace, StageSpace, StemSpace, catalog
from nas.strict_yaml import read_yaml


def load_space(source: str | Path) -> SearchSpace:
    """Loads a search space by the name of a shipped one or the path of a YAML file.

    Raises:
        SpaceError: If it is unknown or not well-formed, or names a preset that cannot be loaded.
    """
    space = catalog.read_space(source, ops)
    for name in space.presets:  # now, and not when they are first needed: after hours of training
        try:
            load_architecture(name)
        except ArchitectureError as fault:
            raise SpaceError(f"{source}: presets: {fault}") from None
    return space


def space_from_dict(plain: dict[str, Any]) -> SearchSpace:
    """Returns the space whose `to_dict` is given, with the same members and digest."""
    stages = [
        StageSpace(
            stride=stage["stride"],
            widths=tuple(stage["widths"]),
            depths=tuple(stage["depths"]),
            ops=tuple(OpChoice(**{**op, "choices": _choices(op["choices"])}) for op in stage["ops"]),
            per_layer=stage.get("per_layer", False),
            width_multiplier=stage.get("times", int(stage.get("same", False))),
        )
        for stage in plain["stages"]
    ]
    return SearchSpace(
        name=plain["name"],
        input=InputConfig.from_dict(plain["input"]),
        stem=StemSpace(block=plain["stem"]["block"], choices=_choices(plain["stem"]["choices"])),
        stages=tuple(stages),
        head=BlockConfig.from_dict(plain["head"], "head"),
        op_order=plain["op_order"],
        growing=plain["growing"],
        layer_order=plain.get("layer_order", ""),
        total_depth=tuple(plain.get("total_depth", ())),
        contiguous=plain.get("contiguous", False),
        multiples=plain.get("multiples", False),
        ops=ops,
    )


def load_architecture(source: str | Path) -> Architecture:
    """Loads an architecture by zoo name or path, in its canonical spelling.

    Raises:
        ArchitectureError: If it is unknown or not well-formed.
    """
    architecture, _ = catalog.read_architecture(source)
    try:
        return ops.normalize(architecture)
    except ArchitectureError as fault:
        raise ArchitectureError(f"{source}: {shortened(fault)}") from None


def is_digest_of(digest: str, architecture: Architecture, config: Path) -> bool:
    """Returns whether weights that name their architecture by `digest` are of the one read from a file.

    Version 0.1 named an architecture by its digest in format 1; what the weights fit is the same.
    """
    return digest == architecture.digest or digest == digest_of_format_1(read_yaml(config, error=ArchitectureError))


def _choices(pairs: list[Any]) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    return tuple((name, tuple(values)) for name, values in pairs)
