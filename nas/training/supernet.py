"""Training shared weights: which architectures take a step, and on what loss."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from nas.architecture import Architecture
from nas.data import Dataset
from nas.networks.supernet import Supernet
from nas.progress import Progress
from nas.training.evaluation import evaluate, recalibrate
from nas.training.loop import TrainingLoop
from nas.training.recipe import Recipe
from nas.training.sharded import Shards
from nas.training.soft_labels import SoftLabels

# The share of a single-path training after which only random members learn.
_TAKEN_OVER = 2 / 3
# Large networks that a single-path training begins with where layouts are too many to list.
_ANCHORS = 4
_WATCHED, _RECALIBRATED, _VALIDATED = 4, 512, 1024
"""Members that are measured during a training, and the images of both splits for each."""


class ArchitectureSource(Protocol):
    """Where training gets its architectures from; `nas.methods.supernet` has one that keeps budgets."""

    layouts: tuple[str, ...]

    def largest(self, rng: random.Random, layout: str) -> Architecture: ...

    def smallest(self, rng: random.Random, layout: str) -> Architecture: ...

    def member(self, rng: random.Random, layout: str) -> Architecture: ...


def layout_weights(layouts: tuple[str, ...], *, rounds: int = 400) -> list[float]:
    """How often to sample each layout so that every op of every stage gets enough updates.

    Sampling uniformly over CCCC … AAAA would give the first stage's attention a fifth of the steps. Layouts with the op
    of the fewest updates are sampled more often until each op has at least half the mean, or as near as the layouts
    allow; otherwise the weights stay uniform.
    """
    weights = [1 / len(layouts)] * len(layouts)
    branches = sorted({(i, letter) for layout in layouts for i, letter in enumerate(layout)})
    for _ in range(rounds):
        shares = {
            (i, letter): sum(w for w, layout in zip(weights, layouts, strict=True) if layout[i] == letter)
            for i, letter in branches
        }
        i, letter = min(shares, key=lambda branch: shares[branch])
        if shares[i, letter] >= 0.55 * sum(shares.values()) / len(shares):
            break
        weights = [w * (1.05 if layout[i] == letter else 1) for w, layout in zip(weights, layouts, strict=True)]
        weights = [w / sum(weights) for w in weights]
    return weights


def watching(*, epochs: int, every: int, images: int, held_out: int) -> float:
    """Returns what measuring a few members during a training costs, in images of training.

    Args:
        every: Epochs between two measurements; there is one at the end in any case.
        images: In the train split.
        held_out: In the search-validation split.
    """
    forward = min(_RECALIBRATED, images) + min(_VALIDATED, held_out)
    return -(-epochs // every) * _WATCHED * forward / 3


class SupernetTraining:
    """Trains a supernet by the sandwich rule or by single paths.

    sandwich: per step a layout's largest architecture learns from the labels, its smallest and two random members from
    the largest's detached logits (Yu et al. 2020, arXiv:2003.11142; in-place distillation, Yu and Huang 2019,
    arXiv:1903.05134). Differences: the layout is sampled first; "largest" is sampled again from the top of the budget.
    single-path: one architecture a step learns from the labels (Guo et al. 2020, arXiv:1904.00420). It begins with one
    large network of each layout, and random members take over during the first two thirds of the steps (progressive
    shrinking, as in Once-for-All, Cai et al. 2020, arXiv:1908.09791, whose learned kernel transforms are not there):
    members learn from features that are there.

    With a teacher, the sandwich's networks all learn from the labels and from the teacher's soft labels, as
    `Recipe.distill_weight` has it, and not from the largest of them (Once-for-All's knowledge distillation).

    Args:
        strategy: "sandwich" or "single-path".
        teacher: A trained network for the same classes, channels and resolution; it stays as it is.
        folder: For checkpoints. All processes of a sharded training resume from theirs; only the first writes there.
        shards: Of each batch, with what this process has to do with them; by default batches are not divided.
        after_save: Called once a checkpoint is in the folder.
    """

    def __init__(
        self,
        supernet: Supernet,
        source: ArchitectureSource,
        data: Dataset,
        recipe: Recipe,
        *,
        strategy: str,
        folder: Path | None = None,
        teacher: nn.Module | None = None,
        shards: Shards | None = None,
        after_save: Callable[[], None] | None = None,
    ) -> None:
        assert teacher is None or strategy == "sandwich", strategy
        self._teacher = None if teacher is None else SoftLabels(teacher, data, recipe)
        self.supernet, self.source, self.data, self.recipe, self.strategy = (
            supernet,
            source,
            data,
            recipe,
            strategy,
        )
        self._weights = layout_weights(source.layouts)
        self._shards = shards = shards or Shards()
        self._batch = min(recipe.batch_size, len(data.train))
        self.loop = TrainingLoop(
            supernet,
            data,
            recipe,
            self._step,
            folder=folder,
            after_step=supernet.clear_gradients,
            after_save=after_save,
            rows=None if shards.ranks == 1 else shards.rows,
        )
        rng = random.Random(f"anchors-{recipe.seed}")
        self._anchors = {layout: self._large(rng, layout) for layout in source.layouts}
        self.watched = self._watched()

    def run(
        self,
        progress: Progress,
        on_curve: Callable[[dict[str, Any]], None],
        *,
        watch_every: int = 1,
        metric: str = "accuracy",
        known: Mapping[int, Mapping[str, float]] | None = None,
        on_watched: Callable[[int, str, float], None] | None = None,
    ) -> None:
        """Trains to the end, or from the last checkpoint on. The weights with the best mean accuracy are kept too.

        Args:
            on_curve: Receives {epoch, step, images, seconds, loss, accuracies} every `watch_every` epochs and at the
                end; the accuracies are those of `watched` on search-validation after recalibration. It may be called
                again for an epoch that it received before the training was stopped.
            known: Accuracies that were measured before it was stopped, by epoch and name; they are not measured again.
            on_watched: Receives (epoch, name, accuracy) of each that is measured.
        """
        known = known or {}
        self.loop.resume(progress)
        self._shards.check_same(self.loop.done)
        if not self._shards.leads:
            self.loop.folder = None  # one process writes
        progress.start("supernet", self.loop.steps, "steps")
        progress.advance(self.loop.done, restored=True)

        def on_epoch(epoch: int, loss: float, seconds: float) -> None:
            if not self._shards.leads or (epoch % watch_every and epoch != self.recipe.epochs):
                return
            accuracies = dict(known.get(epoch, {}))
            for name, member in self.watched.items():
                if name not in accuracies:
                    accuracies[name] = self._accuracy(member, metric)
                    if on_watched is not None:
                        on_watched(epoch, name, accuracies[name])
            on_curve(
                {
                    "epoch": epoch,
                    "step": self.loop.done,
                    "images": self.loop.done * self._batch,
                    "seconds": seconds,
                    "loss": loss,
                    "accuracies": {name: accuracies[name] for name in self.watched},
                }
            )
            self.loop.keep_best(sum(accuracies.values()) / len(accuracies))

        self.loop.run(progress, on_epoch)
        progress.finish()

    @property
    def updates(self) -> dict[str, int]:
        """How many architectures with each op (stage and letter, in any of its layers) have taken a step."""
        return dict(self.loop.facts.get("updates", {}))

    def _accuracy(self, architecture: Architecture, metric: str) -> float:
        network = self.supernet.extract(architecture)
        recalibrate(network, self.data, self.recipe, images=_RECALIBRATED)
        validation = self.data.search_validation.first(_VALIDATED)
        return evaluate(network, validation, self.data, self.recipe, metric=metric)

    def _watched(self) -> dict[str, Architecture]:
        rng = random.Random(f"watched-{self.recipe.seed}")
        layouts = self.source.layouts
        middle = layouts[len(layouts) // 2]
        return {
            "largest": self._anchors[middle][0],
            "smallest": self.source.smallest(rng, middle),
            "random 1": self.source.member(rng, layouts[0]),
            "random 2": self.source.member(rng, layouts[-1]),
        }

    def _draw_layout(self, rng: random.Random) -> str:
        return rng.choices(self.source.layouts, self._weights)[0]

    def _large(self, rng: random.Random, layout: str) -> list[Architecture]:
        """Large networks of a layout: one, or a few with other letters where layouts are not listed."""
        space = self.supernet.space
        if space.lists_layouts:
            return [self.source.largest(rng, layout)]
        found: dict[str, Architecture] = {}
        for _ in range(4 * _ANCHORS):
            one = self.source.largest(rng, layout)
            found.setdefault(space.layout(space.encode(one)), one)
            if len(found) == _ANCHORS:
                break
        return list(found.values())

    def _count(self, architectures: list[Architecture]) -> None:
        space = self.supernet.space
        updates = Counter(self.loop.facts.get("updates", {}))
        for architecture in architectures:
            for i, gene in enumerate(space.encode(architecture).stages, start=1):
                updates.update(f"stage {i} {letter}" for letter in sorted(set(gene.op)))
        self.loop.facts["updates"] = dict(updates)

    def _step(self, images: torch.Tensor, labels: torch.Tensor, step: int) -> float:
        rng = random.Random(f"{self.recipe.seed}-{step}")
        layout = self._draw_layout(rng)
        sandwich = self.strategy == "sandwich"
        chosen = self._sandwich(rng, layout) if sandwich else [self._single_path(rng, layout, step)]
        loss = self._shards.learn(
            self.supernet, images, labels, lambda x, y: self._teach(chosen, x, y), batch=self._batch
        )
        self._count(chosen)
        self.supernet.publish_gradients()
        return loss

    def _single_path(self, rng: random.Random, layout: str, step: int) -> Architecture:
        large = rng.random() < 1 - step / (_TAKEN_OVER * self.loop.steps)
        return rng.choice(self._anchors[layout]) if large else self.source.member(rng, layout)

    def _sandwich(self, rng: random.Random, layout: str) -> list[Architecture]:
        """Returns the members of a step, the largest first."""
        extremes = [self.source.largest(rng, layout), self.source.smallest(rng, layout)]
        return [*extremes, *(self.source.member(rng, layout) for _ in range(2))]

    def _teach(self, chosen: list[Architecture], images: torch.Tensor, labels: torch.Tensor) -> float:
        """Adds the gradients of a step's members on a batch, or a shard of one; returns the loss of the first."""
        soft = None if self._teacher is None else self._teacher.logits(images)
        first, *others = chosen
        loss, logits = self._learn(images, labels, first, soft)
        target = labels if soft is not None else logits.softmax(1)
        for member in others:
            self._learn(images, target, member, soft)
        return loss

    def _learn(
        self,
        images: torch.Tensor,
        target: torch.Tensor,
        architecture: Architecture,
        soft: torch.Tensor | None = None,
    ) -> tuple[float, torch.Tensor]:
        """Adds one architecture's gradients.

        Args:
            target: Labels, or probabilities to distil from.
            soft: The teacher's logits.
        """
        self.supernet.train()
        with self.recipe.autocast():
            logits = self.supernet(images, architecture)
        smoothing = self.recipe.label_smoothing if target.dtype == torch.int64 else 0.0
        logits = logits.float()
        loss = F.cross_entropy(logits, target, label_smoothing=smoothing)
        if soft is not None:
            assert self._teacher is not None
            loss = torch.lerp(loss, self._teacher.distance(logits, soft), self.recipe.distill_weight)
        self.supernet.backward(loss)
        return loss.item(), logits.detach()
