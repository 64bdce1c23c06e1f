"""What is said where no network fits a budget: proved for additive metrics, never claimed to be for measured ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.budget import Budget, format_quantity
from nas.errors import BudgetError


def infeasible(space: str, budget: Budget, smallest: int) -> BudgetError:
    """Returns the refusal of one additive budget below the smallest network."""
    return BudgetError(
        f"No {space} network fits {budget}: the smallest needs {format_quantity(budget.metric, smallest)}. "
        f"Raise --budget{' or lower --resolution' if budget.metric == 'macs' else ''}."
    )


def infeasible_by_params(space: str, budget: Budget, params: int, per_param: int) -> BudgetError:
    """Returns the refusal of a measured budget that the parameters of the smallest network alone exceed."""
    return BudgetError(
        f"No {space} network fits {budget}: the smallest has {format_quantity('params', params)}, which are "
        f"{format_quantity(budget.metric, params * per_param)} of weights alone. Raise --budget."
    )


def infeasible_together(space: str, budgets: Sequence[Budget]) -> BudgetError:
    """Returns the refusal of additive budgets of which each alone can be met."""
    return BudgetError(
        f"No {space} network fits {joined(budgets)} at once, though some fit each alone. Raise one --budget."
    )


def none_found(
    space: str, budgets: Sequence[Budget], min_share: float, tries: int, smallest_seen: Mapping[str, int | float]
) -> BudgetError:
    """Returns the refusal of budgets for which a bounded number of tries found no network.

    Args:
        smallest_seen: The least of each measured metric among the networks that were tried.
    """
    for budget in budgets:
        smallest = smallest_seen.get(budget.metric, 0)
        if smallest > budget.bound:
            return BudgetError(
                f"No {space} network within {joined(budgets)} was found in {tries:,} tries: the smallest seen needs "
                f"{format_quantity(budget.metric, smallest)}. Raise --budget."
            )
    if smallest_seen and len(budgets) > 1:  # those seen may be over another budget
        further = " or lower --min-share" if min_share else ""
        return BudgetError(
            f"No {space} network within {joined(budgets)} at once was found in {tries:,} tries, though some are within "
            f"each that is measured. Raise one --budget{further}."
        )
    return BudgetError(
        f"No {space} network was found in {tries:,} tries that uses at least {100 * min_share:g} % of "
        f"{joined(budgets)}. Lower --min-share."
    )


def joined(budgets: Sequence[Budget]) -> str:
    """Returns the budgets in one phrase."""
    return " and ".join(map(str, budgets)) or "the largest"
