"""Predictions from a few known accuracies: the row to compare methods with that train networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.architecture import Architecture
from nas.errors import OptionError
from nas.methods.calibrated.features import FeatureGroups, FeatureScaler


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


def predict_from_known(architectures: Sequence[Architecture], accuracies: Sequence[float], count: int) -> Known:
    """What the accuracies of a few rows make expected of every row.

    The rows are chosen before any accuracy is seen, as a calibrated score chooses what it trains: those that by costs
    and structure tell most about all for what they cost, as many as cost what `count` average ones do. A Gaussian
    process on the same features is fitted to their log-odds of being right. Each stands for one full training.

    Args:
        accuracies: As shares, or where one exceeds 1 as percentages.

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
    predicted, _ = scaler.fit(rows, [accuracies[row] / unit for row in rows]).at(scaler.reference)
    return Known(
        rows=tuple(sorted(rows)),
        costs=scaler.costs / scaler.costs.mean(),
        predicted=[float(value) for value in predicted],
    )
