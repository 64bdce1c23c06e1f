"""Plain data of a space file, taken apart with its place in every message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from nas.errors import SpaceError
from nas.file_formats import FORMAT
from nas.registry import closest, unknown
from nas.spaces.templates import names_in

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


def check_used(choices: Mapping[str, object], template: object, where: str, *, known: Iterable[str]) -> None:
    """Refuses choices that a template does not use, and names in it that stand for no choice.

    Of two names that are nearly the same, the one that a template gives to a parameter of that name is right
    (`kernel_size: $kernel_size`): then the typo is in the choices.

    Args:
        where: Names the section of the choices, such as `layers.mbconv.choices`.
        known: Further names that the template may use.
    """
    used = set(names_in(template))
    unused, wrong = sorted(set(choices) - used), sorted(used - {*choices, *known})
    for name in unused:
        near = closest(name, [each for each in wrong if f"${each}" in _given(template, each)])
        if near:
            raise SpaceError(f"{where}: {name!r} is not used, and ${near} is and has no values: write {near!r} here.")
    section = where.removesuffix(".choices") if where != "stem_choices" else "stem"
    if wrong:
        raise SpaceError(f"{section}: {unknown('choice', wrong[0], {*choices, *known})}")
    if unused:
        raise SpaceError(f"{where}: choice {unused[0]!r} is not used in {section}; write ${unused[0]} there.")


def _given(template: object, parameter: str) -> set[str]:
    """Returns the texts that a template gives to parameters of a name, wherever they are."""
    if isinstance(template, dict):
        pairs = cast("dict[str, object]", template)
        own = {value for key, value in pairs.items() if key == parameter and isinstance(value, str)}
        return own.union(*(_given(value, parameter) for value in pairs.values()))
    if isinstance(template, list):
        return set[str]().union(*(_given(item, parameter) for item in cast("list[object]", template)))
    return set()
