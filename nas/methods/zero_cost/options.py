"""The options of the methods that score by zero-cost proxies: a search has none, a ranking some of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nas.options.methods import MethodOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroCostOptions(MethodOptions):
    """No options."""

    ranking_uses: ClassVar[frozenset[str]] = frozenset({"data", "resolution", "work", "device"})
