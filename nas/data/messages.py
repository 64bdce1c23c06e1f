"""Pieces of messages."""

from __future__ import annotations

from collections.abc import Sequence

from nas.formats import first_few


def shown(values: Sequence[object], most: int = 5) -> str:
    """Formats a few values: "'a', 'b' and 3 more"."""
    return first_few([repr(value[:60] if isinstance(value, str) else value) for value in values], most) or "none"


def in_one_line(error: BaseException) -> str:
    """Returns an exception's message, shortened for use within another message."""
    return " ".join(str(error).split())[:150] or type(error).__name__
