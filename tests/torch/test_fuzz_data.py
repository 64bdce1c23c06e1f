"""Mutated archives, IDX files, images and folders are read, or refused in one line of ours; nothing is executed."""

from __future__ import annotations

import pytest

from ..fuzz_data import TARGETS
from ..fuzz_engine import explore

EXAMPLES = {"npz": 300, "idx": 300, "image": 150, "folder": 120}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_mutations_are_read_or_refused_in_one_line(target):
    seen = explore(target, EXAMPLES[target.name])
    assert seen["parsed"] >= 0.4 * seen["tried"]
    assert seen["accepted"] >= 0.05 * seen["tried"]
