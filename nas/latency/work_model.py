"""Latency as a positive sum over work: what a device takes per multiply-add, per number moved and per call.

The rates are exponentials, so that no work takes negative time, with a prior: a device has one speed of arithmetic, one
of memory and one of starting an op, and single kinds of op differ from those. With many networks the measurements
decide, with ten of them the prior still says what those ten do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import least_squares

from nas.latency.features import COLUMNS

# A priori, in the time of one multiply-add of a dense product: a number moved costs ten, a call 2e5, and products of
# few numbers each (one channel, one head at a time) use the arithmetic units less well.
_MACS = {"depthwise": 4.0, "grouped": 2.0, "attention": 1.5}
_ELEMENT, _WEIGHT, _CALL = 10.0, 2.0, 2e5
_GROUPS = ("macs", "elements", "calls", "weights")
_GROUP_SPREAD, _KIND_SPREAD, _SCALE_SPREAD = 1.5, 0.7, 5.0
"""Standard deviations of the logs: of a group's speed, of one kind's within its group, and of the device's."""
_NOISE = 0.05
"""Standard deviation of log latencies around the sum, which the correction is there for."""


def _prior(column: str) -> float:
    kind, _, group = column.rpartition(" ")
    return {"macs": _MACS.get(kind, 1.0), "elements": _ELEMENT, "calls": _CALL}.get(group, _WEIGHT)


PRIOR = np.array([_prior(column) for column in COLUMNS])
_GROUP = np.array([[column.endswith(group) for group in _GROUPS] for column in COLUMNS], dtype=float)


def prior_rates(work: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Returns the prior's rates at the scale of a device, seconds per unit of each column, (columns,)."""
    return PRIOR * float(np.exp(np.median(np.log(seconds) - np.log(work @ PRIOR))))


def fit_rates(work: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Returns the rates of largest posterior density, seconds per unit of each column, (columns,), all positive.

    Args:
        work: Of measured networks, (n, columns).
        seconds: Their latencies, (n,), positive.
    """
    scale = prior_rates(work, seconds)
    basis = np.hstack([np.ones((len(PRIOR), 1)), _GROUP, np.eye(len(PRIOR))])
    spread = np.array([_SCALE_SPREAD] + [_GROUP_SPREAD] * len(_GROUPS) + [_KIND_SPREAD] * len(PRIOR))
    target = np.log(seconds)

    def parts(free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        each = work * (scale * np.exp(basis @ (free * spread)))
        return each, each.sum(1)

    def residuals(free: np.ndarray) -> np.ndarray:
        return np.concatenate([(np.log(parts(free)[1]) - target) / _NOISE, free])

    def slopes(free: np.ndarray) -> np.ndarray:
        each, total = parts(free)
        return np.vstack([(each / total[:, None]) @ basis * spread / _NOISE, np.eye(len(free))])

    solve: Any = least_squares  # its stub has no functions as `jac`
    found = solve(residuals, np.zeros(basis.shape[1]), jac=slopes, loss="soft_l1", max_nfev=200)
    return scale * np.exp(basis @ (found.x * spread))
