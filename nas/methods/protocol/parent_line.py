"""The network that a search started from, in a sentence."""

from __future__ import annotations

from nas.budget import Budget, Cost
from nas.budget_metrics import ADDITIVE
from nas.formats import from_here, percent
from nas.run import RunRecord
from nas.run.events import ParentTested, ParentTuned


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
    reached = [
        f"{percent(accuracy) if in_percent else f'{accuracy:.4f}'} on {split}"
        for accuracy, split in zip(parent_accuracies(run), ("search-validation", "test"), strict=True)
        if accuracy is not None
    ]
    return (
        f"The parent {from_here(parent.config)} reaches {' and '.join(reached)} at {parent.macs / 1e6:,.1f} MMACs and "
        f"{parent.params / 1e6:,.2f} M parameters.{said}"
    )


def parent_accuracies(run: RunRecord) -> tuple[float | None, float | None]:
    """Returns the accuracies of a run's parent on search-validation and on test, None where not measured yet."""
    parent, tested = run.last(ParentTuned), run.last(ParentTested)
    if parent is None:
        return None, None
    return parent.validation_accuracy, parent.test_accuracy if tested is None else tested.test_accuracy
