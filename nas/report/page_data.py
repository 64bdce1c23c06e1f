"""What the page's script reads: trials, finalists, effects and curves of a run as plain JSON."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Any

from nas.formats import chosen_by_words
from nas.report.candidates import Candidate
from nas.report.commands import import_words
from nas.report.curves import finalist_charts, method_chart, series_name
from nas.report.effects import Decision
from nas.report.summary import Summary
from nas.report.trial_columns import axes, trial_columns


def page_data(summary: Summary, effects: list[Decision]) -> dict[str, Any]:
    """Returns plain JSON for the charts; text in it is the run's own and not escaped."""
    trials = summary.complete
    places = {trial.number: place for place, trial in enumerate(trials)}
    section = summary.method_section
    return {
        **trial_columns(summary, trials),
        "axes": [asdict(axis) for axis in axes(summary, trials)] if trials else [],
        "objective": summary.objective,
        "finalists": [_finalist(candidate, places) for candidate in summary.candidates],
        "effects": [asdict(decision) for decision in effects],
        "curves": [chart.to_dict() for chart in finalist_charts(summary)],
        "methodCurves": method_chart(section.curves).to_dict() if section and section.curves else None,
        # The words of `nas train` after the file.
        "trainOn": shlex.join(("--data", summary.record.data, *import_words(summary))),
    }


def _finalist(candidate: Candidate, places: dict[int, int]) -> dict[str, Any]:
    return {
        "name": series_name(candidate),
        "trial": places.get(candidate.trial.number) if candidate.trial else None,
        "rank": candidate.rank,
        "chosenBy": chosen_by_words(candidate.chosen_by),
        "score": candidate.score,
        "macs": candidate.macs,
        "params": candidate.params,
        "validation": candidate.validation_accuracy,
        "error": candidate.validation_error,
        "test": candidate.test_accuracy,
        "latency_s": candidate.latency_s,
        "memory_bytes": candidate.peak_memory_bytes,
    }
