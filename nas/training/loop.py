"""The one training loop: steps over shuffled batches, resumable at any step from its last checkpoint.

Everything random in a step follows from (seed, epoch) or (seed, step), so a checkpoint needs weights, the optimizer's
moments and a step number, and a resumed training sees the batches that an uninterrupted one would have.

A kill costs what was done since the last checkpoint. Checkpoints come so often that this stays within `REDONE_S` or
`REDONE_SHARE` of the training so far, whichever is more, however long they take to write.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.data import Batches, Dataset
from nas.errors import RunError, TrainingError
from nas.progress import Progress, Silent
from nas.run import link_or_copy
from nas.run.signals import seconds_left, uninterrupted
from nas.training.checkpoint import (
    BEST,
    check_damaged,
    load_checkpoint,
    newest_readable,
    prune,
    read_facts,
    save_checkpoint,
)
from nas.training.device import has_room
from nas.training.freed_memory import give_back_what_grew
from nas.training.recipe import Recipe, make_optimizer
from nas.training.weight_average import WeightAverage

Step = Callable[[torch.Tensor, torch.Tensor, int], float]
REDONE_S, REDONE_SHARE = 60.0, 0.02
# The rest is left for what cannot be foreseen, such as a slower step.
_CAUTION = 0.75
_FIRST_S = 10.0
_KEPT = 2


class TrainingLoop:
    """Trains `module` by calling `step(images, labels, step_number)`, which leaves gradients and returns the loss.

    Args:
        folder: For checkpoints: the last two, and the best if `keep_best` is called; None keeps none.
        after_step: Called once the optimizer has moved the weights.
        after_save: Called once a checkpoint is in the folder.
        optimizer: Over parameters of `module`; None is the recipe's AdamW.
        rows: Returns which images (first, end) of a batch of so many are passed to `step`; None for all.

    Attributes:
        facts: Plain JSON of whoever uses the loop; kept in the checkpoints.
        ended: Whether nothing is left to train. `module` then has the weights that are kept.
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
        after_save: Callable[[], None] | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        rows: Callable[[int], tuple[int, int]] | None = None,
    ) -> None:
        self.module, self.data, self.recipe, self.folder = module, data, recipe, folder
        self._step, self._after_step, self._after_save = step, after_step, after_save
        self.optimizer = optimizer or make_optimizer(module, recipe)
        self._generator = torch.Generator()
        # Images that would leave a GPU little room go there batch by batch.
        there = has_room(recipe.device, data.train.images.nbytes)
        train = data.train.to(recipe.device) if there else data.train
        self._images = len(train)
        self._batches = Batches(
            train,
            batch_size=recipe.batch_size,
            mean=data.mean,
            std=data.std,
            augment=recipe.augment,
            varied=recipe.augmentation,
            generator=self._generator,
            shuffle=True,
            drop_last=True,
            rows=None if rows is None else rows(min(recipe.batch_size, len(train))),
            device=recipe.device,
        )
        self.steps_per_epoch = max(1, len(self._batches))
        self.steps = recipe.epochs * self.steps_per_epoch
        self.done = 0
        self.facts: dict[str, Any] = {}
        # Sum and number of this epoch's losses, and the number of epochs that `on_epoch` received.
        self._loss: tuple[float, int] = (0.0, 0)
        self._told = 0
        self._stopped = False
        self.ended = False
        self._average = WeightAverage(module, recipe.ema) if recipe.ema else None
        # The best value so far, with its weights, where there is no folder for them.
        self._best: tuple[float, dict[str, torch.Tensor]] | None = None
        self._clock = _Clock()

    def resume(self, progress: Progress | None = None) -> bool:
        """Goes back to the last readable checkpoint in the folder; whether there was one.

        Args:
            progress: Receives a message for later checkpoints that cannot be read.

        Raises:
            RunError: If it belongs to another network, recipe or number of training images, a later one cannot be read
                for now, or the weights of its best epoch are gone. That can be fixed: the training has not failed.
        """
        if self.folder is None:
            return False
        path, unreadable = newest_readable(self.folder)
        check_damaged(unreadable)
        if unreadable:
            names = " and ".join(each.name for each in unreadable)
            onward = "starting again" if path is None else f"going on from {path.name}"
            (progress or Silent()).note(f"{names} in {self.folder} cannot be read: {onward}")
        if path is None:
            (self.folder / BEST).unlink(missing_ok=True)  # of a training whose checkpoints were deleted
            return False
        stored = load_checkpoint(path, self.module, self.optimizer, average=self._averaged)
        before = replace(Recipe.from_dict(stored["recipe"]), device=self.recipe.device)  # any will do
        if before != self.recipe:
            raise RunError(
                f"{self.folder} was trained by another recipe: {_first_difference(before, self.recipe)}. Delete it, or "
                "resume with the same options."
            )
        self._check_images(path, stored)
        self.done, self.facts = stored["step"], stored["facts"]
        self._loss, self._told, self.ended = tuple(stored["loss"]), stored["told"], stored["ended"]
        self._stopped = stored.get("stopped", False)  # earlier versions did not store it
        if self.recipe.checkpoint == "best" and self.facts.get("kept") and _fact(self.folder / BEST, "step") is None:
            raise self._best_is_gone()
        self._clock.earlier, self._clock.saved_step = stored["seconds"], self.done
        return True

    def _check_images(self, path: Path, stored: dict[str, Any]) -> None:
        """Refuses a checkpoint of more or fewer images: its step would lie elsewhere in the epochs, or beyond them."""
        images = stored.get("images")  # earlier versions did not store it
        remedy = "Restore the data, or delete it to train again."
        if images is not None and images != self._images:
            raise RunError(f"{path} was trained on {images:,} images, not {self._images:,}. {remedy}")
        if stored["step"] > self.steps:
            raise RunError(
                f"{path} holds {stored['step']:,} steps, but {self._images:,} images make {self.steps:,}. {remedy}"
            )

    @property
    def seconds(self) -> float:
        """Time spent in training so far, in this session and in earlier ones that checkpoints record."""
        return self._clock.seconds

    def run(
        self, progress: Progress, on_epoch: Callable[[int, float, float], None], *, until: int | None = None
    ) -> None:
        """Trains to the end, or up to the epoch `until`. Interrupted, it writes a checkpoint of the last whole step.

        Args:
            on_epoch: Called after each epoch with (epochs done, mean loss, seconds of training so far). What it puts
                into `facts` is kept in the checkpoints. It is called again for an epoch if the training was stopped
                before a checkpoint knew of the first call.

        Raises:
            TrainingError: If the loss is not a finite number.
            RunError: If a checkpoint cannot be written.
        """
        self._clock.start()
        try:
            while not self.ended:
                epoch = self.done // self.steps_per_epoch
                if epoch > self._told and self.done % self.steps_per_epoch == 0:
                    self._end_epoch(epoch, on_epoch)
                if self._stopped:
                    self._end()
                    break
                if until is not None and self._told >= until and self.done < self.steps:
                    self._pause()
                    break
                if self.done < self.steps:
                    self._train_epoch(progress)
                elif self._told >= self.recipe.epochs:
                    self._end()
        except KeyboardInterrupt:
            self._save_in_haste()
            raise

    def _pause(self) -> None:
        """Keeps one checkpoint, from which the training goes on if it ever does."""
        if self.folder is not None:
            self.save()
            prune(self._path(self.folder), 1)

    def _end(self) -> None:
        """Leaves the module with the weights that are kept: the average's where there is one."""
        if self._average is not None:
            self.module.load_state_dict(self._average.module.state_dict())
        self.ended = True
        self.save()

    def stop(self) -> None:
        """Ends the training after the epoch that `run` tells of."""
        self._stopped = True

    @property
    def evaluated(self) -> nn.Module:
        """The network to evaluate now: the average of the weights, or the module itself."""
        return self.module if self._average is None or self.ended else self._average.module

    @property
    def _averaged(self) -> nn.Module | None:
        return None if self._average is None else self._average.module

    @property
    def last_learning_rate(self) -> float:
        """The learning rate of the last step, before the factors of layers."""
        return self.recipe.learning_rate_at(max(0, self.done - 1), self.steps)

    def epochs_without_gain(self, epoch: int, value: float) -> int:
        """Returns the epochs since the highest of the values that it was called with, after each epoch."""
        best = self.facts.get("best")
        if best is None or value > best[1]:
            best = self.facts["best"] = [epoch, value]
        return epoch - best[0]

    def restore_best(self) -> None:
        """Gives the module the weights that `keep_best` kept.

        Raises:
            RunError: If their file is gone or damaged.
        """
        if self.folder is not None:
            try:
                load_checkpoint(self.folder / BEST, self.module)
            except RunError:
                raise self._best_is_gone() from None
        elif self._best is not None:
            self.module.load_state_dict(self._best[1])

    def _best_is_gone(self) -> RunError:
        assert self.folder is not None
        return RunError(
            f"{self.folder / BEST}, the weights of the best epoch, is gone or damaged. Delete {self.folder} to train "
            "again."
        )

    def keep_best(self, value: float) -> None:
        """Keeps the weights as they are now if `value` is higher than that of those kept: as `best.safetensors`, or
        without a folder where the recipe needs them in memory.
        """
        if self.folder is None:
            if self.recipe.checkpoint == "best" and (self._best is None or value > self._best[0]):
                state = self.evaluated.state_dict()
                self._best = value, {name: tensor.clone() for name, tensor in state.items()}
            return
        path = self.folder / BEST
        before = _fact(path, "value")
        if before is None or value > before:
            facts = {"step": self.done, "value": value, "recipe": self.recipe.to_dict()}
            with uninterrupted():
                save_checkpoint(path, self.evaluated, None, facts)
        self.facts["kept"] = True

    def _path(self, folder: Path) -> Path:
        """The file of a checkpoint of the steps done."""
        return folder / f"step-{self.done:08d}.safetensors"

    def save(self) -> None:
        """Writes a checkpoint, then deletes those before the last two; at the end, all but the trained weights."""
        if self.folder is None:
            return
        began = time.monotonic()
        facts = {
            "step": self.done,
            "seconds": self.seconds,
            "time": time.time(),
            "recipe": self.recipe.to_dict(),
            "images": self._images,
            "loss": self._loss,
            "told": self._told,
            "ended": self.ended,
            "stopped": self._stopped,
            "facts": self.facts,
        }
        path = self._path(self.folder)
        with uninterrupted():
            # Nothing will go on from the optimizer's moments, which are twice the size of the weights.
            optimizer, average = (None, None) if self.ended else (self.optimizer, self._averaged)
            save_checkpoint(path, self.module, optimizer, facts, average=average)
            prune(path, 1 if self.ended else _KEPT)
            self._clock.saved(self.done, began)
        if self.ended and _fact(self.folder / BEST, "step") == self.done:
            link_or_copy(path, self.folder / BEST)
        if self._after_save is not None:
            self._after_save()

    # -- inside -------------------------------------------------------------------------------------------------

    def _train_epoch(self, progress: Progress) -> None:
        """The steps that are left of the epoch in progress."""
        epoch, first = divmod(self.done, self.steps_per_epoch)
        if first == 0:
            self._loss = (0.0, 0)
        # Equal in every process and far apart for neighbouring seeds, unlike seed + epoch.
        self._generator.manual_seed(self.recipe.seed * 1_000_003 + epoch)
        for images, labels in self._batches.epoch(first_batch=first):
            began = time.monotonic()
            with uninterrupted():
                self._one(images, labels)
            give_back_what_grew()
            self._clock.step_s = time.monotonic() - began
            progress.advance(loss=f"{self._loss[0] / self._loss[1]:.3f}")
            if self.done % self.steps_per_epoch and self._clock.due(self._clock.step_s):
                self.save()

    def _end_epoch(self, epoch: int, on_epoch: Callable[[int, float, float], None]) -> None:
        """Tells of an epoch, which may take long: a checkpoint before, or after, where one is due by then."""
        if self._clock.due(self._clock.telling_s):
            self.save()
        began = time.monotonic()
        on_epoch(epoch, self._loss[0] / max(1, self._loss[1]), self.seconds)
        self._clock.telling_s = time.monotonic() - began
        self._told = epoch
        if self.done < self.steps and not self._stopped and self._clock.due(self._clock.step_s):
            self.save()

    def _one(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """One step. What it counts is counted once all of it is done."""
        self._clock.whole = False
        rate = self.recipe.learning_rate_at(self.done, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        loss = self._step(images, labels, self.done)
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss} at step {self.done + 1}. Try --dtype float32 or a larger --batch-size."
            )
        learning = [p for p in self.module.parameters() if p.grad is not None]
        if learning:  # a step of distillation may have nothing to learn
            nn.utils.clip_grad_norm_(learning, self.recipe.clip_norm)
        self.optimizer.step()
        if self._after_step is not None:
            self._after_step()
        if self._average is not None:
            self._average.update(self.done)
        self.done += 1
        self._loss = (self._loss[0] + loss, self._loss[1] + 1)
        self._clock.whole = True

    def _save_in_haste(self) -> None:
        """Saves after an interrupt what no checkpoint holds yet, if it is whole and time is left to write it."""
        clock = self._clock
        if clock.whole and clock.saved_step != self.done and seconds_left() > 1.5 * clock.write_s:
            self.save()


class _Clock:
    """When a training began and saved, and how long its parts take.

    Attributes:
        earlier: Seconds of earlier sessions.
        write_s, step_s, telling_s: What a checkpoint, a step and the end of an epoch took last; the latter is taken
            to be long until it is known.
        whole: False within a step, where the weights belong to none.
    """

    def __init__(self) -> None:
        self.earlier = 0.0
        self.write_s, self.step_s, self.telling_s = 0.0, 0.0, math.inf
        self.whole, self.saved_step = True, 0
        self._began: float | None = None
        self._saved: float | None = None

    def start(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return self.earlier + (0.0 if self._began is None else time.monotonic() - self._began)

    def saved(self, step: int, began: float) -> None:
        self._saved, self.saved_step = time.monotonic(), step
        self.write_s = self._saved - began

    def due(self, ahead: float) -> bool:
        """Whether a kill could cost too much after a further part of `ahead` seconds, were there no checkpoint now."""
        at_stake = time.monotonic() - (self._saved or self._began or 0.0) + ahead
        if self._saved is None:
            return at_stake > _FIRST_S
        return at_stake > _CAUTION * max(REDONE_S, REDONE_SHARE * self.seconds)


def _fact(path: Path, name: str) -> Any:
    """A fact of a checkpoint; None where there is no such fact, or no such file that can be read."""
    try:
        return read_facts(path).get(name)
    except RunError:
        return None


def _first_difference(before: Recipe, now: Recipe) -> str:
    """Returns the first value in which two recipes differ, such as "epochs 2, now 3"."""
    values = ((name, value, now.to_dict()[name]) for name, value in before.to_dict().items())
    return next(f"{name} {value}, now {other}" for name, value, other in values if value != other)
