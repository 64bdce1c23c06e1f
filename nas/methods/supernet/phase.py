"""The first phase: the supernet trained for the budget, its curve recorded; or another run's taken over."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from nas.architecture import Architecture
from nas.errors import RunError
from nas.methods.protocol.context import Context
from nas.methods.protocol.plan import Plan
from nas.methods.supernet.reuse import Borrowed, file_digest
from nas.networks.supernet import Supernet
from nas.run import link_or_copy
from nas.run.events import SupernetAccuracy, SupernetEpoch, SupernetReused, UpdateCounts
from nas.sampling.budget_sampler import BudgetSampler
from nas.training import SupernetTraining
from nas.training.checkpoint import load_checkpoint, newest

FOLDER = "supernet"


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


def build_supernet(training: BudgetSampler, plan: Plan, *, seed: int) -> Supernet:
    """Fresh shared weights for all that a sampler draws, at the resolution that networks are trained at."""
    space = training.space.adapted(resolution=plan.train_resolution)
    return Supernet(space, seed=seed, choices=training.feasible_choices())


def make_supernet(context: Context, supernet: Supernet, borrowed: Borrowed | None) -> Supernet:
    """Trains fresh weights, from the run's last checkpoint if it has one, or fills in another run's."""
    supernet.to(context.plan.device)
    if borrowed is None:
        _train(context, supernet)
    else:
        _fill(context, supernet, borrowed)
    return supernet


def _train(context: Context, supernet: Supernet) -> None:
    run, plan, options, progress = context.run, context.plan, context.options, context.progress
    training = SupernetTraining(
        supernet,
        TrainingMembers(context.training),
        context.data,
        plan.recipe(epochs=plan.epochs, seed=options.seed),
        strategy=plan.strategy,
        folder=run.path / FOLDER,
    )
    # A training that goes on from a checkpoint sees some epochs again; they are on record.
    known: dict[int, dict[str, float]] = {}
    for event in run.events(SupernetAccuracy):
        known.setdefault(event.epoch, {})[event.name] = event.accuracy
    told = {event.epoch for event in run.events(SupernetEpoch)}

    def on_curve(row: dict[str, Any]) -> None:
        if row["epoch"] not in told:
            run.append(SupernetEpoch(**row))
        shown = ", ".join(f"{name} {value:.3f}" for name, value in row["accuracies"].items())
        progress.note(f"Supernet, epoch {row['epoch']} of {plan.epochs}: {shown}")

    training.run(
        progress,
        on_curve,
        watch_every=plan.watch_every,
        metric=options.metric,
        known=known,
        on_watched=lambda epoch, name, accuracy: run.append(
            SupernetAccuracy(epoch=epoch, name=name, accuracy=accuracy)
        ),
    )
    if not run.events(UpdateCounts):
        run.append(UpdateCounts(counts=training.updates))


def _fill(context: Context, supernet: Supernet, borrowed: Borrowed) -> None:
    """Copies another run's weights into the run, once, and from there into the supernet."""
    folder = context.run.path / FOLDER
    if newest(folder) is None:
        source = Path(borrowed.file)
        if not source.is_file() or file_digest(source) != borrowed.sha256:
            raise RunError(
                f"The supernet of {borrowed.run} is gone or has changed before it was copied to {context.run.path}: "
                "start a new run."
            )
        folder.mkdir(parents=True, exist_ok=True)
        link_or_copy(source, folder / source.name)
    if not context.run.events(SupernetReused):
        context.run.append(SupernetReused(run=borrowed.run, step=borrowed.step, sha256=borrowed.sha256))
    load_checkpoint(folder / Path(borrowed.file).name, supernet)
