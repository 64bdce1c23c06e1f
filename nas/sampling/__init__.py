"""Sampling members of a space inside budgets, exactly; sizes and costs without training."""

from nas.sampling.budget_sampler import BudgetSampler, Draw, sample

__all__ = ["BudgetSampler", "Draw", "sample"]
