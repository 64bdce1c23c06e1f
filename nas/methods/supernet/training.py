"""Training of a search's supernet: in this process, or by several that share the shards of each batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas.architecture import Architecture
from nas.budget import Budget
from nas.data.sharing import pack_data, to_array, to_tensor, unpack_data
from nas.jobs.sharded import ShardedSetup, ShardedWork, Tell
from nas.latency.budgets import restore
from nas.methods.protocol.context import Context
from nas.methods.protocol.plan import Plan
from nas.methods.supernet.packing import pack_supernet, unpack_supernet
from nas.methods.supernet.plans import SupernetPlan, TrainingMembers
from nas.methods.supernet.reuse import FOLDER
from nas.networks.loading import space_from_dict
from nas.networks.network import Network, build
from nas.networks.supernet import Supernet
from nas.progress import Progress
from nas.run.events import SupernetAccuracy, SupernetEpoch, UpdateCounts
from nas.sampling import BudgetSampler
from nas.training import Recipe, SupernetTraining
from nas.training.checkpoint import newest, read_facts
from nas.training.sharded import Shards
from nas.training.threads import threads_set

_TEACHER = "teacher/"


def shard_threads(plan: Plan) -> int:
    """Returns the CPU threads that each shard is computed with, wherever it is: an equal part of the plan's."""
    shards = plan.of(SupernetPlan).shards
    return plan.threads if shards == 1 else max(plan.job_threads, plan.threads // shards)


def train_supernet(
    context: Context,
    supernet: Supernet,
    members: BudgetSampler,
    recipe: Recipe,
    *,
    teacher: tuple[Architecture, Network] | None = None,
) -> None:
    """Trains a supernet, from the run's last checkpoint if there is one, and records its curve.

    Args:
        members: Samples the architectures of its training.
        teacher: Its architecture, at the training resolution, and the network.
    """
    plan, own, folder = context.plan, context.plan.of(SupernetPlan), context.run.path / FOLDER
    threads, curve = shard_threads(plan), _Curve(context)
    work = _Work(context, supernet, members, recipe, teacher)
    if own.shards > 1 and not _is_ended(folder):
        context.backend.train_sharded(
            ShardedWork(
                phase=FOLDER,
                pack=lambda: work.pack(curve.known),
                shards=own.shards,
                threads=threads,
                device=plan.device,
                folder=folder,
                tell=curve.hear,
                progress=context.progress,
            )
        )
    trainer = SupernetTraining(
        supernet,
        TrainingMembers(members),
        context.data,
        recipe,
        strategy=own.strategy,
        folder=folder,
        teacher=None if teacher is None else teacher[1],
        shards=Shards(own.shards),
    )
    with threads_set(threads):
        _Watched(trainer, own.watch_every, context.options.metric, curve.known).run(context.progress, curve.hear)
    if not context.run.events(UpdateCounts):
        context.run.append(UpdateCounts(counts=trainer.updates))


def _is_ended(folder: Path) -> bool:
    path = newest(folder)
    return path is not None and bool(read_facts(path).get("ended"))


Known = dict[int, dict[str, float]]
"""Accuracies that were measured during a training, by epoch and name."""


@dataclass(frozen=True, slots=True, eq=False)
class _Watched:
    """A supernet's training that tells of its curve, and of each accuracy in it."""

    trainer: SupernetTraining
    watch_every: int
    metric: str
    known: Known

    def run(self, progress: Progress, tell: Tell) -> None:
        def on_watched(epoch: int, name: str, accuracy: float) -> None:
            tell({"watched": {"epoch": epoch, "name": name, "accuracy": accuracy}})

        self.trainer.run(
            progress,
            lambda row: tell({"curve": row}),
            watch_every=self.watch_every,
            metric=self.metric,
            known=self.known,
            on_watched=on_watched,
        )


class _Curve:
    """Records what a training tells. A resumed training repeats epochs after its checkpoint; they are recorded once."""

    def __init__(self, context: Context) -> None:
        self._run, self._progress = context.run, context.progress
        self._epochs = context.plan.of(SupernetPlan).epochs
        self.known: Known = {}
        for event in context.run.events(SupernetAccuracy):
            self.known.setdefault(event.epoch, {})[event.name] = event.accuracy
        self._recorded = {event.epoch for event in context.run.events(SupernetEpoch)}

    def hear(self, told: dict[str, Any]) -> None:
        if "watched" in told:
            self._watched(**told["watched"])
            return
        row = told["curve"]
        if row["epoch"] not in self._recorded:
            self._recorded.add(row["epoch"])
            self._run.append(SupernetEpoch(**row))
        shown = ", ".join(f"{name} {value:.3f}" for name, value in row["accuracies"].items())
        self._progress.note(f"Supernet, epoch {row['epoch']} of {self._epochs}: {shown}")

    def _watched(self, *, epoch: int, name: str, accuracy: float) -> None:
        if name not in self.known.setdefault(epoch, {}):
            self.known[epoch][name] = accuracy
            self._run.append(SupernetAccuracy(epoch=epoch, name=name, accuracy=accuracy))


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """All that a supernet's training begins with; has the arguments of `train_supernet`."""

    context: Context
    supernet: Supernet
    members: BudgetSampler
    recipe: Recipe
    teacher: tuple[Architecture, Network] | None

    def pack(self, known: Known) -> ShardedSetup:
        """Returns it as plain data and arrays."""
        context, own, members = self.context, self.context.plan.of(SupernetPlan), self.members
        supernet, arrays = pack_supernet(self.supernet)
        data, images = pack_data(context.data)
        arrays |= images
        if self.teacher is not None:
            arrays |= {_TEACHER + name: to_array(value) for name, value in self.teacher[1].state_dict().items()}
        facts = {
            "supernet": supernet,
            "members": {
                "space": members.space.to_dict(),
                "budgets": [str(budget) for budget in members.budgets],
                "min_share": members.min_share,
            },
            "device_models": context.run.part("device_models"),
            "data": data,
            "recipe": self.recipe.to_dict(),
            "strategy": own.strategy,
            "watch_every": own.watch_every,
            "metric": context.options.metric,
            "known": known,
            "teacher": None if self.teacher is None else self.teacher[0].to_dict(),
        }
        return ShardedSetup(make=f"{__name__}:unpack_training", facts=facts, arrays=arrays)


def unpack_training(
    setup: ShardedSetup, shards: Shards, folder: Path, after_save: Callable[[], None] | None
) -> _Watched:
    """Re-creates one process's part of a training from `_Work.pack`, with weights of its own."""
    facts = setup.facts
    recipe = Recipe.from_dict(facts["recipe"])
    restore(facts["device_models"], "the search's process")
    trainer = SupernetTraining(
        unpack_supernet(facts["supernet"], setup.arrays, copied=True).to(recipe.device),
        TrainingMembers(_sampler(**facts["members"])),
        unpack_data(facts["data"], setup.arrays),
        recipe,
        strategy=facts["strategy"],
        folder=folder,
        teacher=None if facts["teacher"] is None else _teacher(setup),
        shards=shards,
        after_save=after_save,
    )
    return _Watched(trainer, facts["watch_every"], facts["metric"], facts["known"])


def _sampler(*, space: dict[str, Any], budgets: list[str], min_share: float) -> BudgetSampler:
    return BudgetSampler(space_from_dict(space), [Budget.parse(text) for text in budgets], min_share=min_share)


def _teacher(setup: ShardedSetup) -> Network:
    network = build(Architecture.from_dict(setup.facts["teacher"]))
    state: dict[str, torch.Tensor] = {
        name.removeprefix(_TEACHER): to_tensor(array)
        for name, array in setup.arrays.items()
        if name.startswith(_TEACHER)
    }
    network.load_state_dict(state)
    return network
