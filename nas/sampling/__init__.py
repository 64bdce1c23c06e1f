"""Sampling members of a space inside budgets, exactly; sizes and costs without training."""

from nas.sampling.budget_sampler import BudgetSampler, Member
from nas.sampling.feasible_set import FeasibleSet
from nas.sampling.kept_samplers import sample

__all__ = ["BudgetSampler", "FeasibleSet", "Member", "sample"]
