"""The network that a search started from, in a sentence."""

from __future__ import annotations

from nas.run import RunRecord
from nas.run.events import ParentTuned


def parent_line(run: RunRecord) -> str:
    """Returns a sentence on the parent of a run, the reference for all that was found; "" if there is none."""
    parent = run.last(ParentTuned)
    if parent is None:
        return ""
    return (
        f"The parent {parent.config} reaches {parent.validation_accuracy:.4f} on search-validation and "
        f"{parent.test_accuracy:.4f} on test at {parent.macs / 1e6:,.1f} MMACs and {parent.params / 1e6:,.2f} M "
        "parameters."
    )
