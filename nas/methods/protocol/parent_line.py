"""The network that a search started from, in a sentence."""

from __future__ import annotations

from pathlib import Path

from nas.budget import Budget, Cost
from nas.budget_metrics import ADDITIVE
from nas.run import RunRecord
from nas.run.events import ParentTuned


def parent_line(run: RunRecord) -> str:
    """Returns a sentence on the parent of a run, the reference for all that was found; "" if there is none."""
    parent = run.last(ParentTuned)
    if parent is None:
        return ""
    spent = Cost(macs=parent.macs, params=parent.params)
    budgets = [Budget.parse(text) for text in run.manifest["budgets"]]
    over = [each for each in budgets if each.metric in ADDITIVE and not each.allows(spent)]
    said = f" It is over {over[0]}: a reference, and not exported." if over else ""
    config, here = Path(parent.config), Path.cwd()
    name = config.relative_to(here) if config.is_relative_to(here) else parent.config  # recorded as an absolute path
    return (
        f"The parent {name} reaches {parent.validation_accuracy:.4f} on search-validation and "
        f"{parent.test_accuracy:.4f} on test at {parent.macs / 1e6:,.1f} MMACs and {parent.params / 1e6:,.2f} M "
        f"parameters.{said}"
    )
