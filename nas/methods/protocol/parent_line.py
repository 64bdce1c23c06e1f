"""The network that a search started from, in a sentence."""

from __future__ import annotations

from pathlib import Path

from nas.run import RunRecord
from nas.run.events import ParentTuned


def parent_line(run: RunRecord) -> str:
    """Returns a sentence on the parent of a run, the reference for all that was found; "" if there is none."""
    parent = run.last(ParentTuned)
    if parent is None:
        return ""
    config, here = Path(parent.config), Path.cwd()
    name = config.relative_to(here) if config.is_relative_to(here) else parent.config  # recorded as an absolute path
    return (
        f"The parent {name} reaches {parent.validation_accuracy:.4f} on search-validation and "
        f"{parent.test_accuracy:.4f} on test at {parent.macs / 1e6:,.1f} MMACs and {parent.params / 1e6:,.2f} M "
        "parameters."
    )
