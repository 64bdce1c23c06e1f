"""Templates of layers and blocks: plain data in which `$name` stands for a choice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from nas.errors import SpaceError


def fill(template: object, values: dict[str, Any]) -> Any:
    """A template with every `$name` replaced.

    Raises:
        SpaceError: If a name has no value.
    """
    if isinstance(template, dict):
        return {key: fill(item, values) for key, item in cast("dict[str, Any]", template).items()}
    if isinstance(template, list):
        return [fill(item, values) for item in cast("list[Any]", template)]
    if isinstance(template, str) and template.startswith("$"):
        if template[1:] not in values:
            known = ", ".join(f"${name}" for name in sorted(values))
            raise SpaceError(f"{template[:60]} stands for no choice. Known: {known}.")
        return values[template[1:]]
    return template


def names_in(template: object) -> Iterator[str]:
    """The names that a template's `$name`s stand for."""
    if isinstance(template, dict):
        template = list(cast("dict[str, Any]", template).values())
    if isinstance(template, list):
        for item in cast("list[Any]", template):
            yield from names_in(item)
    elif isinstance(template, str) and template.startswith("$"):
        yield template[1:]
