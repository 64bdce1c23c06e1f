"""A scorer as plain data, from which any process makes a scorer that gives the same scores, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nas.data.sharing import Arrays


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoringSetup:
    """What a process needs to make a scorer.

    Attributes:
        facts: Plain data, small.
        arrays: Weights and images, large: processes of one machine share one copy of them.
    """

    facts: dict[str, Any]
    arrays: Arrays
