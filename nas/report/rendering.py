"""The templates of the page, with what they need to show a run's data as people read it and without harm."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas import formats
from nas.budget import format_quantity


@cache
def environment() -> Environment:
    """Returns the templates' environment: all that a template is given is escaped, and what it lacks is an error."""
    made = Environment(
        loader=PackageLoader("nas.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=visible,
    )
    made.globals.update(ABSENT=formats.ABSENT, count=formats.count)
    made.filters.update(
        correlation=formats.correlation,
        cost=short_cost,
        duration=formats.duration,
        on_line=_on_line,
        or_absent=_or_absent,
        percent=formats.percent,
        thousands=_thousands,
    )
    return made


def visible(value: object) -> object:
    """Returns what a template shows of a value, in which U+FFFD stands for what has no place in an HTML file.

    That is control characters, and lone surrogates as in undecodable file names.
    """
    if isinstance(value, Markup):
        return value  # of our own macros
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def short_cost(value: float | None, metric: str) -> str:
    """Returns a cost for a table, without a noun that its column has already."""
    return formats.ABSENT if value is None else format_quantity(metric, value).removesuffix(" params")


def _on_line(value: float) -> str:
    """Returns where a value from -1 to +1 stands on the line of a whisker."""
    return f"{75 + 70 * max(-1.0, min(1.0, value)):.1f}"


def _or_absent(value: object) -> object:
    return formats.ABSENT if value is None else value


def _thousands(value: int) -> str:
    return f"{value:,}"
