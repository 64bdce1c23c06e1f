"""What a search says that it is about to do."""

from __future__ import annotations

from collections.abc import Sequence

from nas.budget import Budget, format_quantity
from nas.methods.protocol.plan import Plan
from nas.options import UNTRAINED
from nas.sampling.budget_sampler import BudgetSampler


def announcement(
    plan: Plan,
    *,
    scorer: str,
    sampler: BudgetSampler,
    budgets: Sequence[Budget],
    images: int,
    lender: str | None,
    details: Sequence[str | None],
) -> list[str]:
    """Lines for people; the last says how much of everything, and how long it may take.

    Args:
        images: That train.
        lender: The run whose supernet is used, if it is another's.
        details: Lines of others, before the last; None is none.
    """
    budget = " and ".join(map(str, budgets)) or "the whole space"
    layouts = f"{len(sampler.layouts)} layout{'s' * (len(sampler.layouts) != 1)}"
    lines = [f"{sampler.space.name} within {budget}: {layouts}, networks of at least {_least(sampler)}"]
    if plan.train_resolution != plan.resolution:
        lines.append(
            f"Costs are counted at {plan.resolution} pixels; training and accuracies are at "
            f"{plan.train_resolution} pixels (--train-resolution)"
        )
    lines += [line for line in details if line is not None]
    lines.append(
        f"{_first(plan, scorer, images, lender)}; search: {plan.trials} networks; finalists: {plan.finalists} x "
        f"{plan.finalist_epochs} epochs; {plan.device}, {plan.threads} threads, {plan.dtype}; about "
        f"{sum(plan.seconds.values()) / 60:.0f} minutes"
    )
    return lines


def _least(sampler: BudgetSampler) -> str:
    """Returns what feasible networks cost at least; a bound above the largest network is lowered to it."""
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


def _first(plan: Plan, scorer: str, images: int, lender: str | None) -> str:
    """What scores rest on."""
    if lender is not None:
        return f"Supernet: that of {lender} ({plan.epochs} epochs, {plan.strategy})"
    if scorer in UNTRAINED:
        known = plan.calibration
        if "trainings" not in known:
            return f"Scores: {scorer}"
        return (
            f"Scores: {scorer}, by trainings of {known['epochs']} epoch{'s' * (known['epochs'] != 1)} of {images:,} "
            f"images that cost as much as those of {known['trainings']} of {known['reference']} networks"
        )
    if plan.blocks:
        images = min(images, plan.blocks["images"])
    by = f" from {plan.teacher['path']} (weights {plan.teacher['sha256'][:16]})" if plan.teacher else ""
    return f"Supernet: {plan.epochs} epochs of {images:,} images, {plan.strategy}{by}"
