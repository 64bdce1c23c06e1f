"""Mutated space files, architecture files and budgets are accepted and work, or are refused in one line of ours."""

from __future__ import annotations

import pytest

from ..fuzz_engine import explore
from ..fuzz_texts import TARGETS

EXAMPLES = {"space": 120, "architecture": 120, "budget": 800}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_mutations_are_accepted_and_work_or_are_refused_in_one_line(target):
    seen = explore(target, EXAMPLES[target.name])
    # Else the mutations would not reach what they are to test.
    assert seen["parsed"] >= 0.5 * seen["tried"]
    assert seen["accepted"] >= 0.04 * seen["tried"]
