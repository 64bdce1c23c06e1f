"""The options of the zero-cost methods: none in a search, some in `nas rank`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nas.options.methods import MethodOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroCostOptions(MethodOptions):
    """No options."""

    ranking_uses: ClassVar[frozenset[str]] = frozenset({"data", "resolution", "work", "device"})
