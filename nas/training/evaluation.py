"""Accuracy on a split, and BatchNorm statistics made for one network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas.data import Batches, Dataset, Split
from nas.errors import TrainingError
from nas.training.recipe import Recipe


def recalibrate(
    network: nn.Module, data: Dataset, recipe: Recipe, *, images: int = 1024, batch_size: int = 128
) -> None:
    """Replaces the BatchNorm statistics by averages over the first training images, without augmentation.

    Statistics gathered while other architectures trained on the same weights say nothing about this one.
    """
    norms = batch_norms(network)
    if not norms:
        return
    was_training = network.training
    network.eval()
    batches = recalibration_batches(data, recipe, images=images, batch_size=batch_size)
    with gathering_statistics(norms), torch.no_grad(), recipe.autocast():
        for x, _ in batches:
            network(x)
    network.train(was_training)


def images_counted(split: Split, metric: str) -> int:
    """Returns of how many images a metric's binomial variance p (1 - p) / N is: its N.

    All of them for accuracy. Balanced accuracy is a mean over K classes of n images each, where the K^2 / sum(1 / n)
    assumes the same share right in every class: as many as all if classes are equally large, else fewer.
    """
    if metric != "balanced-accuracy":
        return len(split)
    sizes = split.labels.bincount()
    sizes = sizes[sizes > 0].double()
    return max(1, int(len(sizes) ** 2 / sizes.reciprocal().sum())) if len(sizes) else 0


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """The BatchNorms of a module, in order, each once."""
    return [each for each in module.modules() if isinstance(each, _BatchNorm)]


@contextmanager
def gathering_statistics(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    """Re-estimates the statistics of BatchNorms from what flows through them within the block.

    They are reset, then averaged over all batches alike. Afterwards these norms are in eval mode and their momenta what
    they were; the mode of everything else is the caller's affair.
    """
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a cumulative average
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def evaluate(
    network: nn.Module,
    split: Split,
    data: Dataset,
    recipe: Recipe,
    *,
    metric: str = "accuracy",
    batch_size: int = 256,
) -> float:
    """The top-1 accuracy on a split, from 0 to 1, or another metric of which higher is better.

    Args:
        metric: "accuracy" over all images, "balanced-accuracy", the mean over classes of each one's share, or
            "negative-loss", the mean logarithm of the right class's probability, at most 0.
    """
    return evaluate_metrics(network, split, data, recipe, (metric,), batch_size=batch_size)[metric]


def evaluate_metrics(
    network: nn.Module,
    split: Split,
    data: Dataset,
    recipe: Recipe,
    metrics: Sequence[str],
    *,
    batch_size: int = 256,
) -> dict[str, float]:
    """Returns several metrics of `evaluate` by name, of one pass over a split."""
    was_training = network.training
    network.eval()
    tallies = {metric: Tally(data.info.num_classes, metric) for metric in metrics}
    with torch.inference_mode(), recipe.autocast():
        for x, labels in scoring_batches(split, data, recipe, batch_size=batch_size):
            logits = network(x)
            for tally in tallies.values():
                tally.add(logits, labels)
    network.train(was_training)
    return {metric: tally.value() for metric, tally in tallies.items()}


class Tally:
    """One metric over batches, from correct and all predictions by class, or from the probabilities of the classes."""

    def __init__(self, classes: int, metric: str) -> None:
        self._counts = torch.zeros(2, classes, dtype=torch.int64)
        self._metric, self._log_likelihood = metric, 0.0

    def add(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Takes in (B, classes) logits and (B,) labels.

        Raises:
            TrainingError: If a logit is not finite: the greatest of them would be the first, right or not.
        """
        if not logits.isfinite().all():
            raise TrainingError("The network's outputs are not finite, so it has no accuracy. Try --dtype float32.")
        right = (logits.argmax(1) == labels).cpu()
        labels = labels.cpu()
        if self._metric == "negative-loss":
            self._log_likelihood -= float(F.cross_entropy(logits.cpu().double(), labels, reduction="sum"))
        self._counts[0] += torch.bincount(labels[right], minlength=self._counts.shape[1])
        self._counts[1] += torch.bincount(labels, minlength=self._counts.shape[1])

    def value(self) -> float:
        """The metric, as `evaluate` has it."""
        if self._metric == "negative-loss":
            return self._log_likelihood / int(self._counts[1].sum())
        if self._metric == "balanced-accuracy":
            present = self._counts[1] > 0
            return float((self._counts[0][present] / self._counts[1][present]).mean())
        return float(self._counts[0].sum() / self._counts[1].sum())


def recalibration_batches(data: Dataset, recipe: Recipe, *, images: int, batch_size: int = 128) -> Batches:
    """The first training images, without augmentation, in whole batches."""
    return _batches(data.train.first(images), data, recipe, batch_size, drop_last=True)


def scoring_batches(split: Split, data: Dataset, recipe: Recipe, *, batch_size: int = 256) -> Batches:
    """All images of a split, in order."""
    return _batches(split, data, recipe, batch_size)


def _batches(split: Split, data: Dataset, recipe: Recipe, batch_size: int, *, drop_last: bool = False) -> Batches:
    return Batches(
        split, batch_size=batch_size, mean=data.mean, std=data.std, drop_last=drop_last, device=recipe.device
    )


def standard_error(accuracy: float, images: int) -> float:
    """Returns the binomial standard error of an accuracy measured on `images` images.

    One further right and one further wrong image are assumed (Laplace's rule), since all right is not certain.
    """
    share = (accuracy * images + 1) / (images + 2)
    return math.sqrt(share * (1 - share) / max(1, images))
