"""What the sum over work does not explain: a Gaussian process on log(measured / predicted).

It has two parts. The additive one is a deviation per block, alike for blocks that do alike work, and counts by the
block's share of the network's time; so it is an additive model of blocks whose latencies nobody measured one by one.
The other is a deviation of whole networks, alike for networks that spend their time alike: what does not add up.
The scales of both are those of largest marginal likelihood (Rasmussen & Williams 2006, section 5.4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from nas.latency.features import COLUMNS, KINDS, BlockWork, total_work

# Medians and log standard deviations of the scales a priori: deviations of 20 % per block, of 5 % per single block and
# per network, and noise of 2 %.
_MEDIANS = np.log([0.2, 2.0, 0.05, 0.05, 2.0, 0.02])
_SPREADS = np.array([1.0, 0.7, 1.0, 1.0, 0.7, 0.7])
DIMENSIONS = len(KINDS) + 5
"""Numbers that say where a block or a network lies."""
_OF_KIND = np.array([[column.startswith(f"{kind} ") for kind in KINDS] for column in COLUMNS], dtype=float)


@dataclass(frozen=True, slots=True)
class Scales:
    """Deviations (as ratios) and length scales of the process, by the names in `SCALES`."""

    block: float
    block_length: float
    single: float
    network: float
    network_length: float
    noise: float


PRIOR_SCALES = Scales(*map(float, np.exp(_MEDIANS)))


class Networks:
    """Networks as the correction sees them, given the rates of the sum over work.

    Attributes:
        seconds: What the sum predicts for each, (n,).
        keys: The blocks that occur, each once; `points` has where they lie, (blocks, dimensions).
        shares: The share of each network's time in each block, (n, blocks).
        wholes: Where the networks lie, (n, dimensions).
    """

    def __init__(self, networks: Sequence[Sequence[BlockWork]], rates: np.ndarray) -> None:
        known: dict[str, BlockWork] = {block.key: block for blocks in networks for block in blocks}
        self.keys = list(known)
        work = np.array([block.work for block in known.values()])
        self.points = _points(work * rates, np.array([block.shape for block in known.values()]))
        index = {key: i for i, key in enumerate(self.keys)}
        times = work @ rates
        spent = np.zeros((len(networks), len(known)))
        for row, blocks in zip(spent, networks, strict=True):
            for block in blocks:
                row[index[block.key]] += times[index[block.key]]
        self.seconds = spent.sum(1)
        self.shares = spent / self.seconds[:, None]
        totals = np.array([total_work(blocks) for blocks in networks])
        ends = np.array([(*blocks[0].shape[:3], *blocks[-1].shape[:3]) for blocks in networks])
        self.wholes = _points(totals * rates, ends)


@dataclass(frozen=True, slots=True)
class Correction:
    """The fitted process: what it takes to predict, no more.

    Attributes:
        scales: Of the process.
        keys, points, weights: The blocks of the measured networks, where they lie, and how much each says.
        wholes, whole_weights: The same of the measured networks.
    """

    scales: Scales
    keys: tuple[str, ...]
    points: np.ndarray
    weights: np.ndarray
    wholes: np.ndarray
    whole_weights: np.ndarray

    def blocks(self, networks: Networks) -> np.ndarray:
        """Returns the log deviation of each block of `networks`, (blocks,)."""
        return block_kernel(self.scales, networks.points, self.points, networks.keys, self.keys) @ self.weights

    def predict(self, networks: Networks) -> np.ndarray:
        """Returns log(measured / predicted) for each network, (n,)."""
        whole = whole_kernel(self.scales, networks.wholes, self.wholes) @ self.whole_weights
        return networks.shares @ self.blocks(networks) + whole


def fit_correction(networks: Networks, log_ratio: np.ndarray) -> Correction:
    """Fits the process to log(measured / predicted) of networks, (n,)."""
    far, near = _squared(networks.points, networks.points), _squared(networks.wholes, networks.wholes)
    same = np.eye(len(networks.keys))
    shares = networks.shares

    def covariance(scales: Scales) -> np.ndarray:
        block = _radial(far, scales.block, scales.block_length) + scales.single**2 * same
        whole = _radial(near, scales.network, scales.network_length)
        return shares @ block @ shares.T + whole + scales.noise**2 * np.eye(len(shares))

    def loss(logs: np.ndarray) -> float:
        factor = cho_factor(covariance(Scales(*np.exp(logs))), lower=True)
        fit = 0.5 * log_ratio @ cho_solve(factor, log_ratio) + np.log(np.diag(factor[0])).sum()
        return float(fit + 0.5 * np.sum(((logs - _MEDIANS) / _SPREADS) ** 2))

    bounds = [(median - 4 * spread, median + 4 * spread) for median, spread in zip(_MEDIANS, _SPREADS, strict=True)]
    best: Any = minimize(loss, _MEDIANS, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40})
    scales = Scales(*map(float, np.exp(best.x)))
    solved = cho_solve(cho_factor(covariance(scales), lower=True), log_ratio)
    return Correction(
        scales, tuple(networks.keys), networks.points, shares.T @ solved, networks.wholes, np.asarray(solved)
    )


def network_covariance(scales: Scales, networks: Networks) -> np.ndarray:
    """Returns the covariance of networks' log deviations before any is measured, without noise, (n, n)."""
    block = block_kernel(scales, networks.points, networks.points, networks.keys, networks.keys)
    return networks.shares @ block @ networks.shares.T + whole_kernel(scales, networks.wholes, networks.wholes)


def block_kernel(
    scales: Scales, points: np.ndarray, others: np.ndarray, keys: Sequence[str], other_keys: Sequence[str]
) -> np.ndarray:
    """Returns the covariance of blocks' deviations: alike for alike work, and more for the very same block."""
    found = _radial(_squared(points, others), scales.block, scales.block_length)
    index = {key: i for i, key in enumerate(other_keys)}
    for i, key in enumerate(keys):
        if key in index:
            found[i, index[key]] += scales.single**2
    return found


def whole_kernel(scales: Scales, wholes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the covariance of whole networks' deviations."""
    return _radial(_squared(wholes, others), scales.network, scales.network_length)


def _points(times: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Returns where work lies: how it spends its time, how much that is, and the shapes around it.

    Square roots of shares make the distance that of Hellinger; the rest are logs, a doubling being half a unit.

    Args:
        times: Seconds per column, (n, columns).
        shapes: Channels, height and width before and after, (n, 6).
    """
    by_kind = times @ _OF_KIND
    total = times.sum(1, keepdims=True)
    logs = np.log2(np.maximum(np.hstack([total / 1e-6, shapes[:, [0, 1, 3, 4]]]), 1e-3))
    return np.hstack([2 * np.sqrt(by_kind / total), 0.5 * logs])


def _squared(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    across = (points**2).sum(1)[:, None] + (others**2).sum(1)[None] - 2 * points @ others.T
    return np.maximum(across, 0.0)


def _radial(squared: np.ndarray, deviation: float, length: float) -> np.ndarray:
    return deviation**2 * np.exp(-0.5 * squared / length**2)
