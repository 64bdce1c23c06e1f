"""Every op with a config to vary, one module per module of `nas.ops`.

A case is a config, and for every parameter another value; `With` gives a value that needs others beside it.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, NamedTuple


class With(NamedTuple):
    """A value of a parameter, tried on the case's config changed by `base`, on an input with `tokens`."""

    base: dict[str, Any]
    value: Any
    tokens: int = 0


Cases = dict[str, tuple[dict[str, Any], dict[str, Any]]]


def all_cases() -> Cases:
    """The `CASES` of every module here."""
    found: Cases = {}
    for module in pkgutil.iter_modules(__path__):
        cases: Cases = importlib.import_module(f"{__name__}.{module.name}").CASES
        assert not set(cases) & set(found), module.name
        found |= cases
    return found
