"""Pieces of messages."""

from __future__ import annotations

from collections.abc import Sequence


def shown(values: Sequence[object], most: int = 5) -> str:
    """Formats a few values: "'a', 'b' and 3 more"."""
    listed = ", ".join(repr(value[:60] if isinstance(value, str) else value) for value in values[:most])
    return (listed or "none") + (f" and {len(values) - most} more" if len(values) > most else "")


def in_one_line(error: BaseException) -> str:
    """Returns an exception's message, shortened for use within another message."""
    return " ".join(str(error).split())[:150] or type(error).__name__
