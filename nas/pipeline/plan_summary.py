"""The announcement of a search: what it is about to do."""

from __future__ import annotations

from collections.abc import Sequence

from nas.budget import Budget, format_quantity
from nas.formats import count
from nas.methods.protocol.plan import Plan
from nas.sampling import BudgetSampler


def plan_summary(
    plan: Plan,
    *,
    first: str,
    details: Sequence[str],
    sampler: BudgetSampler,
    budgets: Sequence[Budget],
    rivals: int = 0,
) -> list[str]:
    """Returns lines for people; the last has the amounts of work and the estimated time.

    Args:
        first: The work behind the scores; the last line begins with it.
        details: Further lines, before the last.
        rivals: How many networks are trained beside the finalists.
    """
    budget = " and ".join(map(str, budgets)) or "the whole space"
    layouts = f"{len(sampler.layouts)} layout{'s' * (len(sampler.layouts) != 1)}"
    lines = [f"{sampler.space.name} within {budget}: {layouts}, networks of at least {_least(sampler)}"]
    if plan.train_resolution != plan.resolution:
        lines.append(
            f"Costs are counted at {plan.resolution} pixels; training and accuracies are at "
            f"{plan.train_resolution} pixels (--train-resolution)"
        )
    lines += details
    finalists = f"finalists: {plan.finalists} x {count(plan.finalist_epochs, 'epoch')}"
    finalists += f"; rivals: {rivals} x {count(plan.rival_epochs, 'epoch')}" if rivals else ""
    threads = count(plan.threads, "thread")
    time = count(max(1, round(sum(plan.seconds.values()) / 60)), "minute")
    lines.append(
        f"{first}; search: {plan.trials} networks; {finalists}; {plan.device}, {threads}, {plan.dtype}; about {time}"
    )
    return lines


def _least(sampler: BudgetSampler) -> str:
    """Returns the least cost of feasible networks as text; a bound above the largest network is lowered to it."""
    share = f"{sampler.feasible.min_share:.0%} of"
    if not sampler.budgets:
        return f"{share} the largest"
    parts: list[str] = []
    for budget, bound in zip(sampler.budgets, sampler.feasible.bounds, strict=True):
        if bound < int(budget.bound):
            parts.append(f"the largest, {format_quantity(budget.metric, bound)} ({budget} is above that)")
        else:
            parts.append("the budget" if len(sampler.budgets) == 1 else str(budget))
    return " or ".join(f"{share} {part}" for part in parts)
