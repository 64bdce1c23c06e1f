"""Predictions from a few known accuracies: the row to compare methods with that train networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.architecture import Architecture
from nas.errors import OptionError
from nas.methods.calibrated.features import FeatureGroups, FeatureScaler

_FEWEST = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """What is predicted of all networks from the accuracies of some.

    Attributes:
        rows: Those that were looked at.
        costs: (N,) of a full training of every row, in those of the average network.
        predicted: Logit of the accuracy, of every row.
    """

    rows: tuple[int, ...]
    costs: np.ndarray
    predicted: list[float]

    @property
    def trainings(self) -> float:
        """What those that were looked at cost."""
        return float(self.costs[list(self.rows)].sum())


def predict_from_known(
    architectures: Sequence[Architecture],
    accuracies: Sequence[float],
    count: int,
    *,
    winner_trainings: float = math.inf,
) -> Known:
    """What the accuracies of a few rows make expected of every row.

    The rows are put in order before any accuracy is seen, as a calibrated score chooses what it trains: those that by
    costs and structure tell most about all for what they cost, as many as cost what `count` average ones do. A Gaussian
    process on the same features is fitted to their log-odds of being right. Each stands for one full training.

    Args:
        accuracies: As shares, or where one exceeds 1 as percentages.
        winner_trainings: No more are looked at once, beyond three, the next would make them cost more than so many
            trainings of the network that then seems best.

    Raises:
        OptionError: If fewer than two rows would be left to judge, or the numbers are no accuracies.
    """
    unit = 1.0 if max(accuracies) <= 1 else 100.0
    if min(accuracies) < 0 or max(accuracies) > unit:
        raise OptionError(
            f"--known needs accuracies from 0 to 1 or from 0 to 100, but the table's go from {min(accuracies):g} to "
            f"{max(accuracies):g}. Leave it out, or give another --truth-column."
        )
    scaler, spare = FeatureScaler(FeatureGroups.of(architectures, None)), len(architectures) - 2
    rows = scaler.select(count) if count <= spare else []
    if not 0 < len(rows) <= spare:
        raise OptionError(
            f"--known {count} leaves fewer than two of {len(architectures)} networks to judge. Give a smaller number."
        )
    costs, seen = scaler.costs / scaler.costs.mean(), len(rows)
    if winner_trainings < math.inf:
        seen = min(_FEWEST, seen)
    while True:
        known = rows[:seen]
        process = scaler.fit(known, [accuracies[row] / unit for row in known])
        predicted, _ = process.at(scaler.reference, scaler.counts)
        if seen == len(rows) or costs[rows[: seen + 1]].sum() > winner_trainings * costs[predicted.argmax()]:
            break
        seen += 1
    return Known(
        rows=tuple(sorted(known)),
        costs=costs,
        predicted=[float(value) for value in predicted],
    )
