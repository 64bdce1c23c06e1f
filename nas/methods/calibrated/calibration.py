"""Calibration: short trainings of a few networks, selected by variance reduction relative to their cost.

A search and `nas rank` use the same `calibrate`; where networks, proxies and trainings come from differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nas.architecture import Architecture
from nas.data import Dataset
from nas.methods.calibrated.features import FeatureGroups, FeatureScaler
from nas.methods.calibrated.gaussian_process import AveragedGP, expected_accuracy
from nas.progress import Progress
from nas.training import Recipe, fresh_network, train_network

_FEWEST_LEFT_OUT = 4
Train = Callable[[Architecture, str], float | None]
"""Trains an architecture briefly, in a phase of that name; returns its accuracy, or None if the training fails."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """The data that determine a calibrated score, as plain data.

    Attributes:
        reference: Features of networks sampled from the feasible set of a search, or of a table.
        digests: Digests of these networks, so that none is measured again.
        trained: Rows of the trained networks, with the accuracies that they reached.
        images: Number of images that each accuracy was measured on; None if unknown.
    """

    reference: FeatureGroups
    digests: tuple[str, ...]
    trained: tuple[tuple[int, float], ...]
    images: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        groups = [group.tolist() for group in self.reference.groups]
        return {"reference": groups, "digests": self.digests, "trained": self.trained, "images": self.images}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Calibration:
        """Restores what `to_dict` returned."""
        return cls(
            reference=FeatureGroups(groups=tuple(np.array(group, dtype=float) for group in plain["reference"])),
            digests=tuple(plain["digests"]),
            trained=tuple((row, value) for row, value in plain["trained"]),
            images=plain["images"],
        )

    @cached_property
    def scaler(self) -> FeatureScaler:
        return FeatureScaler(self.reference)

    @cached_property
    def process(self) -> AveragedGP:
        rows, accuracies = zip(*self.trained, strict=True)
        return self.scaler.fit(rows, accuracies, self.images)

    def predict(self, measured: FeatureGroups) -> np.ndarray:
        """Returns the predicted mean accuracies (N,), from 0 to 1, of networks after such a training."""
        scaler = self.scaler
        return expected_accuracy(*self.process.at(scaler.points(measured), scaler.standard_counts(measured)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOneOut:
    """Leave-one-out predictions of the trainings.

    Attributes:
        predicted: Accuracies from 0 to 1, in the order of the trainings; empty below four trainings.
        spearman: Rank correlation with the accuracies reached; None below four, or if one side is constant.
    """

    predicted: tuple[float, ...]
    spearman: float | None


def leave_one_out(calibration: Calibration) -> LeaveOneOut:
    """Predicts every short training from the others, to check the score on networks that it was not fitted to.

    It costs no training. The check covers only few networks, chosen to differ, and only trainings of this length.
    """
    trained, scaler = calibration.trained, calibration.scaler
    if len(trained) < _FEWEST_LEFT_OUT:
        return LeaveOneOut(predicted=(), spearman=None)
    reached = [accuracy for _, accuracy in trained]
    predicted: list[float] = []
    for row, _ in trained:
        rows, accuracies = zip(*(each for each in trained if each[0] != row), strict=True)
        # Their own mean is the lower, the higher the one left out is: without skill, predictions would be in its order.
        others = scaler.fit(rows, accuracies, calibration.images, like=reached)
        left_out = calibration.reference.rows([row])
        found = expected_accuracy(*others.at(scaler.points(left_out), scaler.standard_counts(left_out)))
        predicted.append(float(found[0]))
    return LeaveOneOut(predicted=tuple(predicted), spearman=rank_correlation(predicted, reached))


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Returns Spearman's rank correlation; None below three pairs or if one side is constant."""
    if len(first) < 3 or 1 in (len(set(first)), len(set(second))):
        return None
    from scipy.stats import spearmanr  # takes most of a second to import

    correlation: Any = spearmanr(first, second)
    return float(correlation.statistic)


def chosen_rows(reference: FeatureGroups, trainings: int, *, first: Sequence[int] = ()) -> list[int]:
    """Returns the reference networks to train: first those given, then those that reduce most what variance they leave.

    Args:
        trainings: The compute to spend, in trainings of the average network.
    """
    return [*first, *FeatureScaler(reference).select(max(1, trainings - len(first)), known=first)]


def calibrate(
    networks: Sequence[Architecture],
    reference: FeatureGroups,
    train: Train,
    rows: Sequence[int],
    *,
    images: int | None = None,
) -> Calibration:
    """Trains the networks of some rows in sequence.

    Args:
        networks: The reference networks.
        reference: Their features.
        images: Number of images that an accuracy is measured on.
    """
    trained: list[tuple[int, float]] = []
    for number, row in enumerate(rows, start=1):
        accuracy = train(networks[row], f"calibration {number} of {len(rows)}")
        if accuracy is not None:
            trained.append((row, accuracy))
    return Calibration(
        reference=reference,
        digests=tuple(network.digest for network in networks),
        trained=tuple(trained),
        images=images,
    )


def train_shortly(
    architecture: Architecture,
    data: Dataset,
    recipe: Recipe,
    *,
    progress: Progress,
    phase: str,
    folder: Path | None,
    metric: str = "accuracy",
    after_save: Callable[[], None] | None = None,
) -> float:
    """Trains a network from scratch, or from its last checkpoint in `folder`; returns its search-validation accuracy.

    Raises:
        TrainingError: If the loss stops being a finite number.
    """
    return train_network(
        fresh_network(architecture.at_resolution(data.resolution), seed=recipe.seed),
        data,
        recipe,
        progress=progress,
        phase=phase,
        folder=folder,
        metric=metric,
        after_save=after_save,
    )
