"""The first phase: the supernet trained for the budget, its curve recorded."""

from __future__ import annotations

import random
from typing import Any

from nas.architecture import Architecture
from nas.searching.context import Context
from nas.searching.sampling import BudgetSampler
from nas.supernet import Supernet
from nas.training import SupernetTraining


class TrainingMembers:
    """The architectures that train the supernet: members in range of the budget, by layout."""

    def __init__(self, sampler: BudgetSampler) -> None:
        self._sampler = sampler
        self.layouts = sampler.layouts

    def largest(self, rng: random.Random, layout: str) -> Architecture:
        return self._sampler.largest(rng, layout).architecture

    def smallest(self, rng: random.Random, layout: str) -> Architecture:
        return self._sampler.smallest(rng, layout).architecture

    def member(self, rng: random.Random, layout: str) -> Architecture:
        return self._sampler.draw(rng, layout=layout).architecture


def train_supernet(context: Context) -> Supernet:
    """Trains shared weights for what fits the budget, from the run's last checkpoint if it has one."""
    run, plan, options, progress = context.run, context.plan, context.options, context.progress
    space = context.space.adapted(resolution=plan.train_resolution)
    supernet = Supernet(space, seed=options.seed, choices=context.sampler.feasible_choices())
    supernet.to(plan.device)
    training = SupernetTraining(
        supernet,
        TrainingMembers(context.sampler),
        context.data,
        plan.recipe(epochs=plan.epochs, seed=options.seed),
        strategy=plan.strategy,
        folder=run.path / "supernet",
    )
    known = {event["epoch"] for event in run.events("curve")}

    def on_curve(row: dict[str, Any]) -> None:
        if row["epoch"] not in known:
            run.append("curve", **row)
        shown = ", ".join(f"{name} {value:.3f}" for name, value in row["accuracies"].items())
        progress.note(f"Supernet, epoch {row['epoch']} of {plan.epochs}: {shown}")

    training.run(progress, on_curve, watch_every=plan.watch_every, metric=options.metric)
    if not run.events("updates"):
        run.append("updates", counts=training.updates)
    return supernet
