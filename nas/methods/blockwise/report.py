"""A block-wise search in a run's report."""

from __future__ import annotations

from nas.methods.protocol.report import MethodReport, MethodSection, ScoreMeaning, epochs_progress
from nas.run import RunRecord


def section(record: RunRecord) -> MethodSection:
    """Returns the reason why there is no curve of accuracies."""
    words = "Its blocks learn without labels, so that there is no accuracy to show; events.jsonl has the loss."
    progress = epochs_progress(record)
    return MethodSection(title="Did the supernet converge?", paragraphs=(words,), progress=progress)


def score_meaning(record: RunRecord) -> ScoreMeaning:
    """Returns the plain meaning: a figure without unit, which compares networks of one run."""
    return ScoreMeaning()


REPORT = MethodReport(section=section, score_meaning=score_meaning, phases=("supernet",))
