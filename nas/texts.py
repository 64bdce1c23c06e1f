"""Texts from outside, as terminals and files can hold them."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text with what is no text written out: codes for terminals as `\x1b`, lone bytes as `\udce9`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def is_text(text: str) -> bool:
    """Whether a text can be written to a file; names of files may hold bytes that stand for no character."""
    return not any("\ud800" <= c <= "\udfff" for c in text)
