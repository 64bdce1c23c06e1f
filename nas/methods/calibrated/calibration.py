"""Calibration: short trainings of a few networks, chosen by what they say about all for their cost.

A search and `nas rank` use the same `calibrate`; where networks, proxies and trainings come from differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
"""Trains an architecture for a short while, in a phase of that name; its accuracy, or None where the training fails."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """All that a calibrated score follows from, as plain data.

    Attributes:
        reference: Features of networks sampled from the feasible set of a search, or of a table.
        digests: Of these networks, so that none is measured again.
        trained: The rows of those that were trained, with the accuracies that they reached.
        images: On which each accuracy was measured; None where that is not known.
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
        """What `to_dict` gave."""
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
        """The accuracies (N,), from 0 to 1, that networks are expected to reach by such a training, in the mean."""
        scaler = self.scaler
        return expected_accuracy(*self.process.at(scaler.points(measured), scaler.standard_counts(measured)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOneOut:
    """What is predicted of every training by all others.

    Attributes:
        predicted: Accuracies from 0 to 1, in the order of the trainings; none below four of them.
        spearman: Their rank correlation with those reached; None below four, or where one side is the same for all.
    """

    predicted: tuple[float, ...]
    spearman: float | None


def leave_one_out(calibration: Calibration) -> LeaveOneOut:
    """Predicts every short training by the others: what the score knows of networks that it was not told of.

    It costs no training. It is a check on few networks, which were chosen to differ, and on trainings of this length.
    """
    trained = calibration.trained
    if len(trained) < _FEWEST_LEFT_OUT:
        return LeaveOneOut(predicted=(), spearman=None)
    predicted: list[float] = []
    for row, _ in trained:
        others = replace(calibration, trained=tuple(each for each in trained if each[0] != row))
        predicted.append(float(others.predict(calibration.reference.rows([row]))[0]))
    reached = [accuracy for _, accuracy in trained]
    return LeaveOneOut(predicted=tuple(predicted), spearman=rank_correlation(predicted, reached))


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation; None below three pairs or where one side is the same for all."""
    if len(first) < 3 or 1 in (len(set(first)), len(set(second))):
        return None
    from scipy.stats import spearmanr  # takes most of a second to import

    correlation: Any = spearmanr(first, second)
    return float(correlation.statistic)


def chosen_rows(reference: FeatureGroups, trainings: int, *, first: Sequence[int] = ()) -> list[int]:
    """The reference networks to train: those that reduce variance most, after some that are trained in any case.

    Args:
        trainings: The compute that may be spent, in trainings of the average network.
    """
    others = FeatureScaler(reference).select(max(1, trainings - len(first)))
    return list(dict.fromkeys([*first, *others]))


def calibrate(
    networks: Sequence[Architecture],
    reference: FeatureGroups,
    train: Train,
    rows: Sequence[int],
    *,
    images: int | None = None,
) -> Calibration:
    """Trains the networks of some rows, one after another.

    Args:
        networks: The reference networks.
        reference: Their features.
        images: On which an accuracy is measured.
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
    until: int | None = None,
    after_save: Callable[[], None] | None = None,
) -> float:
    """Trains a network from scratch, or from its last checkpoint in `folder`; its accuracy on search-validation.

    Args:
        until: As for `train_network`.

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
        until=until,
        after_save=after_save,
    )
