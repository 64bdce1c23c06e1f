"""Training one network from scratch, or from given weights: finalists and `nas train`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nas.architecture import Architecture
from nas.data import Dataset
from nas.errors import OptionError, RunError
from nas.formats import count
from nas.networks.network import Network, build
from nas.progress import Progress
from nas.training.compiling import check_compiler, compiled
from nas.training.evaluation import evaluate_metrics, recalibrate
from nas.training.loop import Step, TrainingLoop
from nas.training.mixing import mixed
from nas.training.recipe import Recipe
from nas.training.soft_labels import SoftLabels
from nas.training.stochastic_depth import StochasticDepth

RECALIBRATION_IMAGES = 4096
"""That BatchNorm statistics are recalibrated on, once a training is over."""


def fresh_network(architecture: Architecture, *, seed: int) -> Network:
    """A network with initial weights that follow from `seed` alone; torch's global generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(architecture)


def train_network(
    network: Network,
    data: Dataset,
    recipe: Recipe,
    *,
    progress: Progress,
    phase: str = "training",
    folder: Path | None = None,
    metric: str = "accuracy",
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    validate: bool | Collection[int] = False,
    until: int | None = None,
    after_save: Callable[[], None] | None = None,
    teacher: nn.Module | None = None,
) -> float:
    """Trains `network` in place on the train split, from the last checkpoint in `folder` if there is one.

    BatchNorm statistics are recalibrated at the end, since a short training leaves their running averages behind.

    Args:
        on_epoch: Receives {epoch, epochs, loss, learning_rate, validation_accuracy, validation_loss, seconds}; it may
            be called again for an epoch that it received before the training was stopped.
        validate: Which epochs come with metric and loss on search-validation (else None), as all do where the recipe
            needs them. They are measured on a copy, so the trained weights are the same either way. What is validated
            is the average of the weights, if there is one. True means all epochs, keeps the best's weights in `folder`,
            and gives those of the weights themselves beside an average's as {current_validation_accuracy,
            current_validation_loss}.
        until: The epoch to stop after, for now: `folder` then holds a checkpoint from which the same training goes on
            as if it had not stopped. None is the recipe's last.
        after_save: Called once a checkpoint is in the folder.
        teacher: A trained network for the same classes, channels and resolution, whose soft labels take the recipe's
            `distill_weight` of the loss. It is frozen; resuming takes the same one.

    Returns:
        The metric on search-validation.

    Raises:
        TrainingError: If the loss stops being a finite number.
        OptionError: If the recipe's parts of a batch are too small, or this machine cannot compile.
        RunError: If the teacher has other classes, or is not that of the checkpoint.
    """
    network.to(recipe.device)
    _check_parts(data, recipe)
    taught = None if teacher is None else SoftLabels(teacher, data, recipe)
    depth = StochasticDepth(network, recipe.drop_path, seed=recipe.seed) if recipe.drop_path else None
    step = training_step(
        network,
        recipe,
        teacher=taught,
        classes=data.info.num_classes,
        class_weights=balanced_weights(data, recipe) if recipe.class_weights == "balanced" else None,
        depth=depth,
        run=_compiled(network, recipe) if recipe.compile else None,
    )
    loop = TrainingLoop(network, data, recipe, step, folder=folder, after_save=after_save)
    resumed = loop.resume(progress)
    _check_teacher(loop, taught, resumed=resumed)
    progress.start(phase, loop.steps if until is None else until * loop.steps_per_epoch, "steps")
    progress.advance(loop.done, restored=True)

    every = validate is True and on_epoch is not None
    chosen: Collection[int] = () if isinstance(validate, bool) or on_epoch is None else validate

    def report(epoch: int, loss: float, seconds: float) -> None:
        row: dict[str, Any] = {"epoch": epoch, "epochs": recipe.epochs, "loss": loss, "seconds": seconds}
        row |= {"learning_rate": loop.last_learning_rate, "validation_accuracy": None, "validation_loss": None}
        if every or recipe.validates or epoch in chosen:
            row |= _validated(deepcopy(loop.evaluated), data, recipe, metric)
        if every and recipe.ema:
            current = _validated(deepcopy(network), data, recipe, metric)
            row |= {f"current_{name}": value for name, value in current.items()}
        if on_epoch is not None:
            on_epoch(row)
        if every or recipe.validates:
            loop.keep_best(row["validation_accuracy"])
            if recipe.patience and loop.epochs_without_gain(epoch, row["validation_accuracy"]) >= recipe.patience:
                loop.stop()

    try:
        loop.run(progress, report, until=until)
    finally:
        if depth is not None:
            depth.remove()
    if loop.ended and recipe.checkpoint == "best":
        loop.restore_best()
    progress.finish()
    return _validated(loop.evaluated, data, recipe, metric)["validation_accuracy"]


def _check_parts(data: Dataset, recipe: Recipe) -> None:
    """Checks that each part of a batch has the two images that BatchNorm needs.

    Raises:
        OptionError: If not.
    """
    batch = min(recipe.batch_size, len(data.train))
    if batch < 2:
        raise OptionError(
            f"batch_size={recipe.batch_size} and {count(len(data.train), 'training image')} leave a batch of 1 image: "
            "BatchNorm needs 2 in each."
        )
    if batch < 2 * recipe.accumulation and recipe.accumulation > 1:
        raise OptionError(
            f"accumulation={recipe.accumulation} leaves a part of a batch of {batch} images fewer than 2: give at most "
            f"{max(1, batch // 2)}."
        )


def _compiled(network: Network, recipe: Recipe) -> Callable[[torch.Tensor], torch.Tensor]:
    """Returns what runs the network compiled.

    Raises:
        OptionError: If this machine cannot compile.
    """
    check_compiler(recipe.device)
    return compiled(network)


def _check_teacher(loop: TrainingLoop, teacher: SoftLabels | None, *, resumed: bool) -> None:
    """Stores which teacher a training has, and refuses to resume it with another or none."""
    now = None if teacher is None else teacher.digest()
    before = loop.facts.get("teacher")
    if resumed and before != now:
        had, has = (f"with teacher {each}" if each else "without a teacher" for each in (before, now))
        raise RunError(f"{loop.folder} was trained {had}, not {has}. Delete it, or resume with the same teacher.")
    if now is not None:
        loop.facts["teacher"] = now


def balanced_weights(data: Dataset, recipe: Recipe) -> torch.Tensor:
    """Returns a weight per class, (classes,), inverse to its count in the train split; their mean over images is 1."""
    counts = torch.bincount(data.train.labels.cpu(), minlength=data.info.num_classes).clamp(min=1)
    return (len(data.train) / (len(counts) * counts)).float().to(recipe.device)


def training_step(
    network: nn.Module,
    recipe: Recipe,
    *,
    teacher: SoftLabels | None = None,
    classes: int = 0,
    class_weights: torch.Tensor | None = None,
    depth: StochasticDepth | None = None,
    run: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Step:
    """Returns what computes the gradients of one batch: cross-entropy with the recipe's label smoothing.

    Batches are mixed and computed in parts as the recipe has it. With a teacher, its soft labels have the recipe's
    `distill_weight` of the loss.

    Args:
        classes: Needed to mix.
        class_weights: Factors of the losses of each class's images, (classes,).
        depth: Drops residual branches.
        run: Gives the network's logits (N, classes) for images (N, C, H, W), if not the network itself.
    """
    forward = network if run is None else run
    mixes = bool(recipe.mixup or recipe.cutmix)
    assert classes or not mixes, "mixing needs the number of classes"

    def step(images: torch.Tensor, targets: torch.Tensor, number: int) -> float:
        network.train()
        network.zero_grad(set_to_none=True)
        if depth is not None:
            depth.begin(number)
        if mixes:
            images, targets = mixed(images, targets, recipe, classes=classes, step=number)
        shares = images.new_ones(len(images))
        if class_weights is not None:
            shares = class_weights[targets] if targets.ndim == 1 else targets @ class_weights
        total, parts = 0.0, recipe.accumulation
        for x, y, share in zip(*(whole.tensor_split(parts) for whole in (images, targets, shares)), strict=True):
            if depth is not None:
                depth.draw(len(x), x.device)
            with recipe.autocast():
                logits = forward(x)
            logits = logits.float()
            # Weights are of images: torch's, of the terms of a smoothed target, would teach an image of a class that is
            # 20 times as common as another the other one.
            each = F.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing, reduction="none")
            loss = (each * share).sum() / shares.sum()
            if teacher is not None:
                loss = torch.lerp(loss, teacher.loss(logits, x) * (len(x) / len(images)), recipe.distill_weight)
            loss.backward()
            total += loss.item()
        return total

    return step


def _validated(network: nn.Module, data: Dataset, recipe: Recipe, metric: str) -> dict[str, float]:
    """Returns the metric and the loss on search-validation, once BatchNorm statistics have caught up with the weights.

    The metric is `validation_accuracy`, whatever it is; `validation_loss` is the cross-entropy without smoothing.
    """
    recalibrate(network, data, recipe, images=RECALIBRATION_IMAGES)
    found = evaluate_metrics(network, data.search_validation, data, recipe, (metric, "negative-loss"))
    return {"validation_accuracy": found[metric], "validation_loss": -found["negative-loss"]}
