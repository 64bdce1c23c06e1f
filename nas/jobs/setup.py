"""A scorer as plain data, from which any process makes a scorer that gives the same scores, bit for bit.

A `Task` that measures networks is packed the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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

    @property
    def device(self) -> str:
        """Where a scorer works: it says so itself, or its recipe does; one that only counts says neither."""
        return self.facts.get("device") or self.facts.get("recipe", {}).get("device", "cpu")

    def on(self, device: str) -> ScoringSetup:
        """Returns the same for a scorer that works elsewhere; one that only counts stays as it is."""
        facts = {**self.facts}
        if "device" in facts:
            facts["device"] = device
        if "recipe" in facts:
            facts["recipe"] = {**facts["recipe"], "device": device}
        return replace(self, facts=facts)


def make_scorer(setup: ScoringSetup) -> Scorer | Task:
    """The scorer that was packed. It holds the arrays themselves, no copy, and writes to none of them."""
    return loaded(setup.make)(setup)
