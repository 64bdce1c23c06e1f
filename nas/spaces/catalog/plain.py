"""Plain data of a space file, taken apart with its place in every message."""

from __future__ import annotations

from typing import Any, cast

from nas.errors import SpaceError
from nas.file_formats import FORMAT
from nas.registry import unknown

MAX_CHOICES = 64
RESERVED = {"width", "stride"}


def choices_of(data: object, where: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, values in mapping(data, where).items():
        if not name.isidentifier():
            raise SpaceError(f"{where}: the name of a choice must be a word, not {name!r}.")
        values = cast("list[Any]", values) if isinstance(values, list) else [values]
        spot = f"{where}.{name}"
        if not 1 <= len(values) <= MAX_CHOICES:
            raise SpaceError(f"{spot} must list 1 to {MAX_CHOICES} values, not {len(values)}.")
        if any(isinstance(v, dict | list) or v is None for v in values):
            raise SpaceError(f"{spot} must list numbers or words, not {values!r}.")
        values = [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]
        if len({(type(v), v) for v in values}) < len(values):
            raise SpaceError(f"{spot} lists a value twice: {values}.")
        found[name] = values
    return found


def numbers(data: object, where: str, least: int = 1) -> tuple[int, ...]:
    values: list[Any] = cast("list[Any]", data) if isinstance(data, list) else [data]
    if not 1 <= len(values) <= MAX_CHOICES or any(type(v) is not int or not least <= v <= 65536 for v in values):
        kind = "whole numbers above 0" if least else "whole numbers"
        raise SpaceError(f"{where} must list 1 to {MAX_CHOICES} {kind}, not {str(values)[:60]}.")
    if list(values) != sorted(set(values)):
        raise SpaceError(f"{where} must be in growing order without repeats, not {values}.")
    return tuple(values)


def in_order(choices: dict[str, list[Any]]) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    return tuple(sorted((name, tuple(values)) for name, values in choices.items()))


def keys_of(data: dict[str, Any], where: str, known: set[str], needed: tuple[str, ...] = ()) -> dict[str, Any]:
    for key in data:
        if key not in known:
            raise SpaceError(f"{where}: {unknown('key', key, known)}")
    for key in needed:
        if key not in data:
            raise SpaceError(f"{where} lacks {key!r}: add {f'format: {FORMAT}' if key == 'format' else 'it'}.")
    return data


def mapping(data: object, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise SpaceError(f"{where} must be a mapping, not {str(data)[:60]!r}.")
    found = cast("dict[Any, Any]", data)
    for key in found:
        if not isinstance(key, str):
            raise SpaceError(f"{where}: {key!r} must be a word; put it in quotes.")
    return found


def listed(data: object, where: str, most: int, least: int = 1) -> list[Any]:
    found = cast("list[Any]", data) if isinstance(data, list) else None
    if found is None or not least <= len(found) <= most:
        raise SpaceError(f"{where} must be a list of {least} to {most} entries.")
    return found


def text(data: object, where: str, most: int = 80) -> str:
    if not isinstance(data, str) or len(data) > most:
        raise SpaceError(f"{where} must be a text of at most {most} characters, not {str(data)[:40]!r}.")
    return data
