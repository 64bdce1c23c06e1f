"""Templates of layers and blocks: plain data in which `$name` stands for a choice.

A `$name` may be multiplied by other names and numbers and divided by whole numbers, from left to right: `$width / 8`,
`$width * $expand_ratio`. Nothing is divided by a name, so that a larger value of a choice never gives a smaller layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any, cast

from nas.errors import SpaceError

_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_TERM = re.compile(rf"\s*([*/])\s*(\$\w+|{_NUMBER})")


def fill(template: object, values: dict[str, Any]) -> Any:
    """A template with every `$name` and every product of them replaced.

    Raises:
        SpaceError: If a name has no value, or a product is not written as one or not of numbers, or is not whole.
    """
    if isinstance(template, dict):
        return {key: fill(item, values) for key, item in cast("dict[str, Any]", template).items()}
    if isinstance(template, list):
        return [fill(item, values) for item in cast("list[Any]", template)]
    if isinstance(template, str) and template.startswith("$"):
        return _value(template, values)
    return template


def names_in(template: object) -> Iterator[str]:
    """The names that a template's `$name`s stand for."""
    if isinstance(template, dict):
        template = list(cast("dict[str, Any]", template).values())
    if isinstance(template, list):
        for item in cast("list[Any]", template):
            yield from names_in(item)
    elif isinstance(template, str) and template.startswith("$"):
        yield from (term[1:] for _, term in _terms(template) if term.startswith("$"))


def _value(text: str, values: dict[str, Any]) -> Any:
    terms = _terms(text)
    for _, term in terms:
        if term.startswith("$") and term[1:] not in values:
            known = ", ".join(f"${name}" for name in sorted(values))
            raise SpaceError(f"{term[:60]} stands for no choice. Known: {known}.")
    if len(terms) == 1:
        return values[text[1:]]
    result = Fraction(1)
    for sign, term in terms:
        value = values[term[1:]] if term.startswith("$") else float(term)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SpaceError(f"{text[:60]}: {term} is {str(value)[:40]!r}, and only numbers can be multiplied.")
        factor = Fraction(str(value))
        result = result * factor if sign == "*" else result / factor
    if result.denominator != 1:
        named = ", ".join(f"{term} = {values[term[1:]]}" for _, term in terms if term.startswith("$"))
        raise SpaceError(f"{text[:60]} is {float(result):g} where {named}; it must be a whole number.")
    return int(result)


@lru_cache(maxsize=4096)
def _terms(text: str) -> tuple[tuple[str, str], ...]:
    """A product's factors, each with the sign before it."""
    first = re.match(r"\$\w*", text)
    assert first is not None
    found, end = [("*", first[0])], first.end()
    while end < len(text):
        term = _TERM.match(text, end)
        if term is None or (term[1] == "/" and not re.fullmatch("[1-9][0-9]*", term[2])):
            raise SpaceError(
                f"{text[:60]!r} is no product: write $name, and after it `* $other`, `* 2.5` or `/ 8`; only whole "
                "numbers can be divided by."
            )
        found.append((term[1], term[2]))
        end = term.end()
    return tuple(found)
