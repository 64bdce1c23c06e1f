"""A scorer as plain data, from which any process makes a scorer that gives the same scores, bit for bit.

A `Task` that measures networks is packed the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nas.data.sharing import Arrays
from nas.jobs.executor import Scorer, Task
from nas.registry import loaded


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoringSetup:
    """What a process needs to make a scorer.

    Attributes:
        make: "module:function" of what makes it, given this.
        facts: Plain data, small.
        arrays: Weights and images, large: processes of one machine share one copy of them.
    """

    make: str
    facts: dict[str, Any]
    arrays: Arrays


def make_scorer(setup: ScoringSetup) -> Scorer | Task:
    """The scorer that was packed. It holds the arrays themselves, no copy, and writes to none of them."""
    return loaded(setup.make)(setup)
