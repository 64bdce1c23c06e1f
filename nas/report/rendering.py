"""The pages' templates and scripts, and the filters that format and escape a run's data."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas import formats
from nas.budget import format_quantity


@cache
def asset(name: str) -> Markup:
    """Returns a file of the package's own for a page, as it is."""
    return Markup(files("nas.report").joinpath("assets", name).read_text(encoding="utf-8"))


@cache
def page_parts(scripts: tuple[str, ...]) -> dict[str, str]:
    """Returns what every page has: Observable Plot, its licenses, the page's own scripts, and a security policy.

    By the policy these very scripts run and no others, and nothing is fetched (docs/decisions/0012-report-charts.md).

    Args:
        scripts: Files of the page's own, in their order; they share one scope.
    """
    plot = asset("plot.min.js")
    own = Markup('(() => {\n"use strict";\n' + "\n".join(map(asset, scripts)) + "})();\n")
    digests = (hashlib.sha256(text.encode()).digest() for text in (plot, own))
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    rules = ("default-src 'none'", f"script-src {hashes}", "style-src 'unsafe-inline'", "img-src data:")
    policy = "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))
    return {"plot": plot, "licenses": asset("plot.licenses.txt"), "script": own, "policy": policy}


@cache
def environment() -> Environment:
    """Returns the Jinja environment: values are escaped, and undefined names are errors."""
    made = Environment(
        loader=PackageLoader("nas.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=visible,
    )
    # `tojson` escapes what would end a script or begin a tag; only the order and the spaces are ours.
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
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
    """Returns a value for a template, with characters that HTML forbids replaced by U+FFFD.

    These are control characters, and lone surrogates from undecodable file names.
    """
    if isinstance(value, Markup):
        return value  # of our own macros
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def short_cost(value: float | None, metric: str) -> str:
    """Returns a cost for a table cell, without the noun that the column header has."""
    return formats.ABSENT if value is None else format_quantity(metric, value).removesuffix(" params")


def _on_line(value: float) -> str:
    """Returns the x coordinate of a value from -1 to +1 in a whisker plot."""
    return f"{75 + 70 * max(-1.0, min(1.0, value)):.1f}"


def _or_absent(value: object) -> object:
    return formats.ABSENT if value is None else value


def _thousands(value: int) -> str:
    return f"{value:,}"
