"""Templates of layers and blocks: plain data in which `$name` stands for a choice.

A number may be a multiple or a part of a choice: `$width*2`, `$width/32`, `$width*3/4`. What comes out must be whole:
a space never rounds behind its author's back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from nas.errors import SpaceError

_TERM = re.compile(r"\$(?P<name>[^*/]*)(?:\*(?P<times>[0-9]{1,6}))?(?:/(?P<over>[1-9][0-9]{0,5}))?")


def fill(template: object, values: dict[str, Any]) -> Any:
    """A template with every `$name` replaced.

    Raises:
        SpaceError: If a name has no value, or a part of it is no whole number.
    """
    if isinstance(template, dict):
        return {key: fill(item, values) for key, item in cast("dict[str, Any]", template).items()}
    if isinstance(template, list):
        return [fill(item, values) for item in cast("list[Any]", template)]
    if isinstance(template, str) and template.startswith("$"):
        return _value(template, values)
    return template


def _value(term: str, values: dict[str, Any]) -> Any:
    found = _TERM.fullmatch(term)
    name = found["name"] if found else term[1:]
    if found is None or name not in values:
        known = ", ".join(f"${name}" for name in sorted(values))
        raise SpaceError(
            f"{term[:60]} stands for no choice. Known: {known}. Of a number also $name*2, $name/2, $name*3/2."
        )
    value = values[name]
    if found["times"] is None and found["over"] is None:
        return value
    if type(value) is not int:
        raise SpaceError(f"{term[:60]}: {name} (={value!r}) is no whole number, so that it cannot be multiplied.")
    product, rest = divmod(value * int(found["times"] or 1), int(found["over"] or 1))
    if rest:
        raise SpaceError(f"{term[:60]} is no whole number where {name} is {value}. Give values that it divides.")
    return product


def names_in(template: object) -> Iterator[str]:
    """The names that a template's `$name`s stand for."""
    if isinstance(template, dict):
        template = list(cast("dict[str, Any]", template).values())
    if isinstance(template, list):
        for item in cast("list[Any]", template):
            yield from names_in(item)
    elif isinstance(template, str) and template.startswith("$"):
        found = _TERM.fullmatch(template)
        yield found["name"] if found else template[1:]
