"""Training one network from scratch, or from given weights: finalists and `nas train`."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nas.architecture import Architecture
from nas.data import Dataset
from nas.networks.network import Network, build
from nas.progress import Progress
from nas.training.evaluation import evaluate, recalibrate
from nas.training.loop import Step, TrainingLoop
from nas.training.recipe import Recipe

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
    validate: bool = False,
    until: int | None = None,
    after_save: Callable[[], None] | None = None,
) -> float:
    """Trains `network` in place on the train split, from the last checkpoint in `folder` if there is one.

    BatchNorm statistics are recalibrated at the end, since a short training leaves their running averages behind.

    Args:
        on_epoch: Receives {epoch, epochs, loss, validation_accuracy, seconds}; it may be called again for an epoch
            that it received before the training was stopped.
        validate: Whether epochs come with the metric on search-validation (else None). That is measured on a
            copy, so the trained weights are the same either way.
        until: The epoch to stop after, for now: `folder` then holds a checkpoint from which the same training goes on
            as if it had not stopped. None is the recipe's last.
        after_save: Called once a checkpoint is in the folder.

    Returns:
        The metric on search-validation.

    Raises:
        TrainingError: If the loss stops being a finite number.
    """
    network.to(recipe.device)
    loop = TrainingLoop(network, data, recipe, training_step(network, recipe), folder=folder, after_save=after_save)
    loop.resume(progress)
    progress.start(phase, loop.steps if until is None else until * loop.steps_per_epoch, "steps")
    progress.advance(loop.done, restored=True)

    def report(epoch: int, loss: float, seconds: float) -> None:
        if on_epoch is None:
            return
        measured = _validated(deepcopy(network), data, recipe, metric) if validate else None
        row = {
            "epoch": epoch,
            "epochs": recipe.epochs,
            "loss": loss,
            "validation_accuracy": measured,
            "seconds": seconds,
        }
        on_epoch(row)
        if measured is not None:
            loop.keep_best(measured)

    loop.run(progress, report, until=until)
    progress.finish()
    return _validated(network, data, recipe, metric)


def training_step(network: nn.Module, recipe: Recipe) -> Step:
    """Returns what computes the gradients of one batch: cross-entropy with the recipe's label smoothing."""

    def step(images: torch.Tensor, labels: torch.Tensor, _: int) -> float:
        network.train()
        network.zero_grad(set_to_none=True)
        with recipe.autocast():
            logits = network(images)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        loss.backward()
        return loss.item()

    return step


def _validated(network: Network, data: Dataset, recipe: Recipe, metric: str) -> float:
    """The metric on search-validation, once the BatchNorm statistics have caught up with the weights."""
    recalibrate(network, data, recipe, images=RECALIBRATION_IMAGES)
    return evaluate(network, data.search_validation, data, recipe, metric=metric)
