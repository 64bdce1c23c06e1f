"""Damaged run folders are read and gone on with, or refused in one line of ours; nothing is executed."""

from __future__ import annotations

from pathlib import Path

from ..fuzz_engine import explore
from ..fuzz_runs import run_target


def test_damaged_runs_are_read_or_refused_in_one_line(whole: Path) -> None:
    seen = explore(run_target(whole), 80)
    assert seen["parsed"] >= 0.4 * seen["tried"]
    assert seen["accepted"] >= 0.1 * seen["tried"]
