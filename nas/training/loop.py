"""The one training loop: steps over shuffled batches, resumable at any step from its last checkpoint.

Everything random in a step follows from (seed, epoch) or (seed, step), so a checkpoint needs weights, the optimizer's
moments and a step number, and a resumed training sees the batches that an uninterrupted one would have.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.data import Batches, Dataset
from nas.errors import TrainingError
from nas.progress import Progress
from nas.training.checkpoint import load_checkpoint, newest, prune, save_checkpoint
from nas.training.recipe import Recipe, make_optimizer

Step = Callable[[torch.Tensor, torch.Tensor, int], float]
CHECKPOINT_SECONDS = 30.0
_KEPT = 2


class TrainingLoop:
    """Trains `module` by calling `step(images, labels, step_number)`, which leaves gradients and returns the loss.

    Args:
        folder: For checkpoints; None keeps none.
        after_step: Called once the optimizer has moved the weights.
    """

    def __init__(
        self,
        module: nn.Module,
        data: Dataset,
        recipe: Recipe,
        step: Step,
        *,
        folder: Path | None = None,
        after_step: Callable[[], None] | None = None,
    ) -> None:
        self.module, self.data, self.recipe, self.folder = module, data, recipe, folder
        self._step, self._after_step = step, after_step
        self.optimizer = make_optimizer(module.named_parameters(), recipe)
        self._generator = torch.Generator()
        train = data.train if recipe.device == "cpu" else data.train.to(recipe.device)
        self._batches = Batches(
            train,
            batch_size=recipe.batch_size,
            mean=data.mean,
            std=data.std,
            augment=recipe.augment,
            generator=self._generator,
            shuffle=True,
            drop_last=True,
            device=recipe.device,
        )
        self.steps_per_epoch = max(1, len(self._batches))
        self.steps = recipe.epochs * self.steps_per_epoch
        self.done = 0
        self.facts: dict[str, Any] = {}
        self._seconds_before = 0.0

    def resume(self) -> bool:
        """Goes back to the last readable checkpoint in the folder; whether there was one."""
        path = newest(self.folder) if self.folder else None
        if path is None:
            return False
        stored = load_checkpoint(path, self.module, self.optimizer)
        if stored["recipe"] != self.recipe.to_dict():
            raise TrainingError(f"{path} was trained by another recipe. Delete it, or resume with the same options.")
        self.done, self.facts = stored["step"], stored["facts"]
        self._seconds_before = stored["seconds"]
        return True

    def run(self, progress: Progress, on_epoch: Callable[[int, float, float], None]) -> None:
        """Trains to the end.

        Args:
            on_epoch: Called after each epoch with (epochs done, mean loss, seconds of training so far). What it puts
                into `facts` is kept in the checkpoints.

        Raises:
            TrainingError: If the loss is not a finite number.
        """
        began = last_saved = time.monotonic()
        total, count = self.facts.get("_loss", [0.0, 0])
        while self.done < self.steps:
            epoch, first = divmod(self.done, self.steps_per_epoch)
            # Equal in every process and far apart for neighbouring seeds, unlike seed + epoch.
            self._generator.manual_seed(self.recipe.seed * 1_000_003 + epoch)
            for images, labels in self._batches.epoch(first_batch=first):
                loss = self._one(images, labels)
                total, count = total + loss, count + 1
                progress.advance(loss=f"{total / count:.3f}")
                if self.done % self.steps_per_epoch and time.monotonic() - last_saved > CHECKPOINT_SECONDS:
                    self.facts["_loss"] = [total, count]
                    self.save(time.monotonic() - began)
                    last_saved = time.monotonic()
            self.facts.pop("_loss", None)
            on_epoch(epoch + 1, total / count, self._seconds_before + time.monotonic() - began)
            total, count = 0.0, 0
            if time.monotonic() - last_saved > CHECKPOINT_SECONDS or self.done == self.steps:
                self.save(time.monotonic() - began)
                last_saved = time.monotonic()

    def save(self, seconds: float) -> None:
        """Writes a checkpoint and deletes the ones before the last two; at the end, all but the trained weights."""
        if self.folder is None:
            return
        ended = self.done == self.steps
        facts = {
            "step": self.done,
            "seconds": self._seconds_before + seconds,
            "recipe": self.recipe.to_dict(),
            "facts": self.facts,
        }
        path = self.folder / f"step-{self.done:08d}.safetensors"
        # Nothing will go on from the optimizer's moments, which are twice the size of the weights.
        save_checkpoint(path, self.module, None if ended else self.optimizer, facts)
        prune(self.folder, 1 if ended else _KEPT)

    def _one(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        rate = self.recipe.learning_rate_at(self.done, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._step(images, labels, self.done)
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss} at step {self.done + 1}. Try --dtype float32 or a larger --batch-size."
            )
        nn.utils.clip_grad_norm_((p for p in self.module.parameters() if p.grad is not None), self.recipe.clip_norm)
        self.optimizer.step()
        if self._after_step is not None:
            self._after_step()
        self.done += 1
        return loss
