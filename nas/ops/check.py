"""Checks of architectures against the ops: known names, known parameters, the right types, one spelling.

A parameter that equals its default is dropped, so that two ways to write the same network give one digest.
"""

from __future__ import annotations

import dataclasses
import typing
from functools import lru_cache
from typing import Any

from nas.architecture import Architecture, BlockConfig, BranchConfig, LayerConfig, StageConfig, Value
from nas.errors import ArchitectureError
from nas.ops.spec import OPS
from nas.registry import unknown

_LARGEST = 2**20
_MAY_BE_ZERO = ("padding",)


def normalize(architecture: Architecture) -> Architecture:
    """Returns the same architecture in its one canonical spelling.

    Raises:
        ArchitectureError: If an op or parameter is unknown, missing or of the wrong type.
    """
    stages = tuple(
        StageConfig(
            layers=tuple(normalize_layer(layer, f"stages[{s}]") for layer in stage.layers),
            transition=normalize_block(stage.transition, f"stages[{s}].transition") if stage.transition else None,
        )
        for s, stage in enumerate(architecture.stages)
    )
    head = normalize_block(architecture.head, "head", keep=("num_classes",))
    if not isinstance(head.get("num_classes"), int):
        raise ArchitectureError(f"head: op {head.op!r} gives no classes; use one with num_classes, such as classifier.")
    return Architecture(
        input=architecture.input, stem=normalize_block(architecture.stem, "stem"), stages=stages, head=head
    )


@lru_cache(maxsize=4096)
def normalize_layer(layer: LayerConfig, where: str) -> LayerConfig:
    """Returns a layer with every block in its canonical spelling."""

    def block(config: BlockConfig | None, name: str) -> BlockConfig | None:
        return normalize_block(config, f"{where}.{name}") if config else None

    return LayerConfig(
        branches=tuple(
            BranchConfig(
                mixer=normalize_block(branch.mixer, f"{where}.mixer"),
                norm=block(branch.norm, "norm"),
                shortcut=block(branch.shortcut, "shortcut"),
                scale=branch.scale,
            )
            for branch in layer.branches
        )
    )


def unknown_op(name: str) -> str:
    """Returns what to say of an op that is not there: the nearest name, and where ops of one's own come from."""
    return f"{unknown('op', name, OPS)} An op of your own needs --import FILE."


def normalize_block(block: BlockConfig, where: str, keep: tuple[str, ...] = ()) -> BlockConfig:
    """Returns a block, its parameters checked, without those that equal their default (but for `keep`)."""
    if block.op not in OPS:
        raise ArchitectureError(f"{where}: {unknown_op(block.op)}")
    config = OPS[block.op].Config
    fields = {f.name: f for f in dataclasses.fields(config)}
    hints = typing.get_type_hints(config)
    given: dict[str, Value] = {}
    for name, value in block.params:
        if name not in fields:
            raise ArchitectureError(f"{where}: {unknown(f'parameter of {block.op}', name, fields)}")
        if value is None and fields[name].default is None:
            continue
        given[name] = _typed(value, hints[name], f"{where}: {block.op}.{name}")
    for name, f in fields.items():
        if f.default is dataclasses.MISSING and name not in given:
            raise ArchitectureError(f"{where}: {block.op} needs the parameter {name!r}.")
        if name in keep and name not in given:
            given[name] = typing.cast("Value", f.default)
    plain = {name: value.to_dict() if isinstance(value, BlockConfig) else value for name, value in given.items()}
    try:
        config(**plain)
    except ArchitectureError as fault:
        raise ArchitectureError(f"{where}: {fault}") from None
    kept = {n: v for n, v in given.items() if n in keep or not _same(v, fields[n].default)}
    return BlockConfig(op=block.op, params=tuple(kept.items()))


def _same(value: Value, default: Any) -> bool:
    return value == default and isinstance(value, bool) == isinstance(default, bool)


def _typed(value: Value, hint: Any, where: str) -> Value:
    """Returns `value` as the declared type, nested blocks normalized."""
    if isinstance(value, BlockConfig):
        if hint is not Any:
            raise ArchitectureError(f"{where} must be {_name(hint)}, not a block.")
        return normalize_block(value, where)
    if isinstance(value, tuple):
        if typing.get_origin(hint) is not tuple:
            raise ArchitectureError(f"{where} must be {_name(hint)}, not a list.")
        if not value:
            raise ArchitectureError(f"{where} must not be empty.")
        return tuple(_typed(item, typing.get_args(hint)[0], f"{where}[{i}]") for i, item in enumerate(value))
    if hint is Any:
        raise ArchitectureError(f"{where} must be a block (a mapping with its 'op'), not {value!r}.")
    if typing.get_origin(hint) is tuple:
        raise ArchitectureError(f"{where} must be {_name(hint)}, not {value!r}.")
    allowed = typing.get_args(hint) or (hint,)
    for kind in allowed:
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
            if not 0 <= value <= _LARGEST:
                raise ArchitectureError(f"{where} (={value}) must be from 0 to {_LARGEST}.")
            return value
        if type(value) is kind:
            least = 0 if where.endswith(_MAY_BE_ZERO) else 1
            if isinstance(value, int) and kind is int and not least <= value <= _LARGEST:
                raise ArchitectureError(f"{where} (={value}) must be from {least} to {_LARGEST}.")
            return value
    raise ArchitectureError(f"{where} must be {_name(hint)}, not {value!r}.")


def _name(hint: Any) -> str:
    words = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a word",
        type(None): "null",
    }
    if typing.get_origin(hint) is tuple:
        return "a list of blocks" if typing.get_args(hint)[0] is Any else "a list"
    return " or ".join(words.get(kind, "a block") for kind in typing.get_args(hint) or (hint,))
