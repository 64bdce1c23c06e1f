"""A block-wise search in a run's report."""

from __future__ import annotations

from nas.methods.protocol.report import MethodReport, MethodSection, ScoreMeaning, epochs_measured, epochs_progress
from nas.run import RunRecord


def section(record: RunRecord) -> MethodSection:
    """Returns a section that says why there is no curve of accuracies."""
    words = "The blocks are trained without labels, so there is no accuracy to show; events.jsonl has the loss."
    progress = epochs_progress(record)
    return MethodSection(title="Did the supernet converge?", paragraphs=(words,), progress=progress)


def score_meaning(record: RunRecord) -> ScoreMeaning:
    """Returns the plain meaning: a unitless score, comparable only within a run."""
    return ScoreMeaning()


REPORT = MethodReport(
    section=section, score_meaning=score_meaning, phases=lambda record: ("supernet",), steps=epochs_measured
)
