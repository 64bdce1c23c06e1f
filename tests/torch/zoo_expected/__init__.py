"""Exact counts of published networks, per group of families, and where each figure comes from.

Each module here has EXPECTED: name -> (parameters, giga multiply-adds, where the figures come from); None where there
is no independent figure.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import NamedTuple


class Expected(NamedTuple):
    """What a network has to count to."""

    params: int | None
    giga_macs: float | None
    source: str


def all_expected() -> dict[str, Expected]:
    """The figures of every module here."""
    found: dict[str, Expected] = {}
    for module in pkgutil.iter_modules(__path__):
        figures = importlib.import_module(f"{__name__}.{module.name}").EXPECTED
        assert not set(figures) & set(found), module.name
        found |= {name: Expected(*entry) for name, entry in figures.items()}
    return found
