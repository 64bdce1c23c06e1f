"""Zero-cost scores in a run's report."""

from __future__ import annotations

from nas.methods.protocol.report import MethodSection, ScoreMeaning, asked, without_supernet
from nas.run import RunRecord


def section(record: RunRecord) -> MethodSection:
    """Returns the statement that nothing was trained for the scores."""
    return without_supernet(str(asked(record)["scorer"]))


def score_meaning(record: RunRecord) -> ScoreMeaning:
    """Returns the plain meaning: a figure without unit, which compares networks of one run."""
    return ScoreMeaning()
