"""How far predicted latencies are from measured ones, and two baselines that any latency model has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from nas.latency.features import COLUMNS, BlockWork, total_work

BASELINES = ("line on MACs", "MACs, params and activations")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionError:
    """Errors of predictions of networks that the predictor was not fitted to.

    Attributes:
        mape: Mean of |predicted / measured - 1|.
        within_5, within_10: Shares of networks predicted within 5 and 10 % of the measurement.
        spearman: Rank correlation; None for fewer than three networks, or where all predictions are equal.
        n: Networks predicted.
    """

    mape: float
    within_5: float
    within_10: float
    spearman: float | None
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON."""
        return asdict(self)


def prediction_error(
    predicted: Sequence[float] | np.ndarray, measured: Sequence[float] | np.ndarray
) -> PredictionError:
    """Returns the errors of predictions; both are seconds, (n,)."""
    off = np.abs(np.asarray(predicted) / np.asarray(measured) - 1)
    varied = (
        len(off) > 2 and len(set(np.asarray(predicted).tolist())) > 1 and len(set(np.asarray(measured).tolist())) > 1
    )
    rank: Any = spearmanr(predicted, measured) if varied else None
    return PredictionError(
        mape=float(off.mean()),
        within_5=float((off <= 0.05).mean()),
        within_10=float((off <= 0.1).mean()),
        spearman=float(rank.statistic) if varied else None,
        n=len(off),
    )


def baseline_predictions(
    known: Sequence[Sequence[BlockWork]], seconds: np.ndarray, others: Sequence[Sequence[BlockWork]]
) -> Mapping[str, np.ndarray]:
    """Returns what the `BASELINES` fitted to known networks predict of others, seconds.

    Both are least squares on relative errors: a line in multiply-adds, and a plane in multiply-adds, parameters and
    activations (the numbers that convolutions and linear maps read and write).
    """
    fitted, asked = _totals(known), _totals(others)
    return {
        name: _least_squares(fitted[:, :count], seconds, asked[:, :count])
        for name, count in zip(BASELINES, (1, 3), strict=True)
    }


def _totals(networks: Sequence[Sequence[BlockWork]]) -> np.ndarray:
    """Returns multiply-adds, parameters of products, and activations, (n, 3)."""
    work = np.array([total_work(blocks) for blocks in networks])
    macs = [i for i, column in enumerate(COLUMNS) if column.endswith(" macs")]
    activations = [COLUMNS.index(COLUMNS[i].replace(" macs", " elements")) for i in macs]
    return np.stack([work[:, macs].sum(1), work[:, COLUMNS.index("weights")], work[:, activations].sum(1)], 1)


def _least_squares(known: np.ndarray, seconds: np.ndarray, others: np.ndarray) -> np.ndarray:
    scale = known.max(0)
    design = np.hstack([np.ones((len(known), 1)), known / scale]) / seconds[:, None]
    found, *_ = np.linalg.lstsq(design, np.ones(len(known)), rcond=None)
    return np.hstack([np.ones((len(others), 1)), others / scale]) @ found
