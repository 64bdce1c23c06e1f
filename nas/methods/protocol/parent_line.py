"""The network that a search started from, in a sentence."""

from __future__ import annotations

from nas.budget import Budget, Cost
from nas.budget_metrics import ADDITIVE
from nas.formats import from_here, percent
from nas.run import RunRecord
from nas.run.events import ParentTuned


def parent_line(run: RunRecord, *, in_percent: bool = False) -> str:
    """Returns a sentence on the parent of a run, the reference for all that was found; "" if there is none.

    Args:
        in_percent: Write accuracies as "81.2 %", not as 0.8125.
    """
    parent = run.last(ParentTuned)
    if parent is None:
        return ""
    spent = Cost(macs=parent.macs, params=parent.params)
    budgets = [Budget.parse(text) for text in run.manifest["budgets"]]
    over = [each for each in budgets if each.metric in ADDITIVE and not each.allows(spent)]
    said = f" It is over {over[0]}: a reference, and not exported." if over else ""
    validation, test = (
        percent(accuracy) if in_percent else f"{accuracy:.4f}"
        for accuracy in (parent.validation_accuracy, parent.test_accuracy)
    )
    return (
        f"The parent {from_here(parent.config)} reaches {validation} on search-validation and {test} on test at "
        f"{parent.macs / 1e6:,.1f} MMACs and {parent.params / 1e6:,.2f} M parameters.{said}"
    )
