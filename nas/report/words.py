"""Figures as people read them, and HTML that cannot be broken by what is put into it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape as _escape

ABSENT = "–"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Markup(str):
    """Text that is HTML already; anything else is escaped when it is put into a page."""

    __slots__ = ()


def html(value: object) -> Markup:
    """`value` as HTML: escaped, unless it is `Markup`."""
    return value if isinstance(value, Markup) else Markup(_escape(_visible(str(value)), quote=True))


def join(parts: Iterable[object], between: str = "") -> Markup:
    """The parts one after another, each escaped unless it is `Markup`."""
    return Markup(html(between).join(html(part) for part in parts))


def element(name: str, *content: object, **attributes: object) -> Markup:
    """One HTML element; attribute `class_` is written as class, `data_label` as data-label."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html(value)}"' for key, value in attributes.items() if value
    )
    return Markup(f"<{name}{written}>{join(content)}</{name}>")


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numeric: Iterable[int] = (),
    cards: bool = False,
) -> Markup:
    """A table; columns in `numeric` stand right. With `cards`, each row is a card on a narrow screen."""
    right = set(numeric)
    head = join(element("th", name, class_="n" if i in right else "") for i, name in enumerate(headers))
    body: list[Markup] = []
    for row in rows:
        cells = (
            element("td", element("span", cell), data_label=headers[i], class_=_kind(cell, i in right))
            for i, cell in enumerate(row)
        )
        body.append(element("tr", join(cells)))
    kind = "rows cards" if cards else "rows"
    return element("table", element("thead", element("tr", head)), element("tbody", join(body)), class_=kind)


def _kind(cell: object, right: bool) -> str:
    return " ".join((["n"] if right else []) + (["absent"] if cell == ABSENT else []))


def pairs(rows: Iterable[tuple[object, object]]) -> Markup:
    """Names and values in two columns."""
    body = (element("tr", element("th", name, scope="row"), element("td", value)) for name, value in rows)
    return element("table", element("tbody", join(body)), class_="pairs")


def percent(share: float | None) -> str:
    """0.8125 as "81.2 %"."""
    return ABSENT if share is None else f"{100 * share:.1f} %"


def points(change: float) -> str:
    """A change between two shares in percentage points: 0.012 as "+1.2 points"."""
    return f"{100 * change:+.1f} points".replace("-", "−")


def number(value: float | None) -> str:
    """Four significant digits."""
    return ABSENT if value is None else f"{value:.4g}".replace("-", "−")


def correlation(value: float | None) -> str:
    return ABSENT if value is None or not math.isfinite(value) else f"{value:+.2f}".replace("-", "−")


def duration(seconds: float | None) -> str:
    """Seconds as "0.42 s", "37 s", "4 min 05 s", "3 h 12 min" or "2 d 4 h"."""
    if seconds is None:
        return ABSENT
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def count(n: int, one: str, many: str = "") -> str:
    """1, "trial" as "1 trial"; 1200, "trial" as "1,200 trials"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def moment(time: str | None) -> str:
    """An ISO 8601 time as "2025-11-21 14:03 UTC"."""
    if not time:
        return ABSENT
    try:
        return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return time


def listing(values: Iterable[object]) -> str:
    """The values as "a, b and c"."""
    words = [str(value) for value in values]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _visible(text: str) -> str:
    # Control characters and lone surrogates, as in undecodable file names, have no place in an HTML file.
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
