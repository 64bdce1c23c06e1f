"""Numbers of a few networks, and what they make expected of all: a Gaussian process on what is known untrained.

Rasmussen and Williams 2006, chapters 2 and 5. scikit-learn is imported where it is needed: it takes a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

_STOOD_FOR = 1000
"""Points that stand for all where there are more."""
_DRAWS, _LEAST = 512, 1e-3
"""Sizes of a kernel that are tried, and the weight beside the likeliest's below which they are left out."""


def select_by_variance_reduction(
    points: np.ndarray, widths: Sequence[int], count: float, costs: np.ndarray | None = None
) -> list[int]:
    """Rows whose numbers would tell most about those of all, the most telling first, before any number is known.

    Each is the one that takes most variance of the process's prior, summed over all rows, for what it costs, given
    those before it (Cohn 1996, Neural Networks 9:6; Seo et al. 2000). Why not rows far apart, and why by cost:
    docs/decisions/0008-calibrated-score.md.

    Args:
        points: (N, F); of more than 1,000 so many, at even steps, stand for all.
        widths: Columns of each group, as `Frame.widths`.
        count: Of rows wanted; all if there are no more.
        costs: (N,) of knowing each row's number, in any unit. Rows are then chosen as long as they fit into what
            `count` average ones cost: more of them where the telling ones are cheap. None where all cost the same.
    """
    from nas.methods.calibrated.kernels import NOISE, prior

    kernel: Any = prior(widths)
    all_rows = np.linspace(0, len(points) - 1, min(len(points), _STOOD_FOR)).round().astype(int)
    between, own = kernel(points, points[all_rows]), kernel.diag(points)
    factors = np.zeros((len(points), 0))
    each = np.ones(len(points)) if costs is None else costs / costs.mean()
    chosen: list[int] = []
    affordable = np.ones(len(points), dtype=bool)
    left = count + 1e-9  # so that rounding leaves none out where all are affordable
    while (affordable := affordable & (each <= left)).any():
        gains = np.where(affordable, (between**2).sum(1) / (own + NOISE) / each, -1.0)
        row = int(gains.argmax())
        chosen.append(row)
        affordable[row] = False
        left -= each[row]
        # What is left once the row is known: one step of a Cholesky factorisation.
        covariance = kernel(points, points[row : row + 1])[:, 0] - factors @ factors[row]
        factor = covariance / math.sqrt(own[row] + NOISE)
        factors = np.column_stack([factors, factor])
        between = between - np.outer(factor, factor[all_rows])
        own = own - factor**2
    return chosen


class AveragedGP:
    """Gaussian process that predicts the numbers of all points from those of a few.

    Its kernel is a linear one for each group of columns, a smooth one of all and noise. So few numbers do not determine
    its hyperparameters: the prediction is the mean over values sampled evenly (by logarithm, within the kernel's
    bounds), each weighted by its marginal likelihood (Rasmussen and Williams 2006, section 5.2). Decision 0008 says why
    the likeliest alone is not used. With fewer than two different numbers it predicts the same for all.

    Args:
        points: (N, F) of the networks whose numbers are known.
        numbers: Theirs, in any unit, such as log-odds of being right.
        widths: Columns of each group, as `Frame.widths`.
    """

    def __init__(self, points: np.ndarray, numbers: Sequence[float], widths: Sequence[int]) -> None:
        from nas.methods.calibrated.kernels import noise, prior

        given = np.array(numbers, dtype=float)
        self._mean = given.mean()
        self._processes: list[tuple[float, Any]] = []
        if len(set(given)) < 2:
            return
        kernel: Any = prior(widths) + noise()
        sizes = _draw(kernel.bounds)
        first = _process(kernel, points, given)
        evidence = np.array([first.log_marginal_likelihood(each, clone_kernel=False) for each in sizes])
        weights = np.exp(evidence - evidence.max())
        weights[weights < _LEAST] = 0.0
        weights /= weights.sum()
        self._processes = [
            (float(weights[i]), _process(kernel.clone_with_theta(sizes[i]), points, given))
            for i in np.flatnonzero(weights)
        ]

    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is expected of (N, F) points, and the standard deviations of the doubt about them."""
        if not self._processes:
            return np.full(len(points), self._mean), np.full(len(points), math.inf)
        mean, square = np.zeros(len(points)), np.zeros(len(points))
        for weight, process in self._processes:
            expected, deviation = process.predict(points, return_std=True)[:2]
            mean += weight * expected
            square += weight * (deviation**2 + expected**2)
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0))


def _draw(bounds: np.ndarray) -> np.ndarray:
    """Points (512, H) spread evenly within bounds (H, 2), always the same: Sobol's sequence."""
    from scipy.stats import qmc

    sequence: Any = qmc.Sobol  # stubs of scipy 1.15 and later know "rng" alone, older ones "seed"
    return qmc.scale(sequence(len(bounds), seed=0).random(_DRAWS), bounds[:, 0], bounds[:, 1])


def _process(kernel: Any, points: np.ndarray, numbers: np.ndarray) -> Any:
    """A process with the sizes that its kernel has."""
    from sklearn.gaussian_process import GaussianProcessRegressor

    made: Any = GaussianProcessRegressor  # its stub knows no optimizer that is None
    return made(kernel, optimizer=None, normalize_y=True).fit(points, numbers)
