"""A Gaussian process that predicts the scores of architectures from those of a few."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

LENGTHS = 1.0, 1.0
"""Prior of log length scales, relative to the log of the square root of their number: mean and standard deviation."""
VARIANCES = (0.0, 1.0), (0.0, 1.5), (-5.0, 2.0)
"""The same for the log variances of the smooth kernel, the linear kernel and the noise, relative to the scores'."""
FARTHEST = 4.0
"""Bounds of the hyperparameters in the fit, in standard deviations of the prior."""
MOST_STEPS = 50
_JITTER = 1e-8


class Surrogate:
    """Gaussian process on points whose columns come in groups: a Matern 5/2 kernel, a linear kernel, and noise.

    The Matern kernel has a length scale for each group of columns. Hyperparameters are MAP estimates under log-normal
    priors, since few observations do not determine them; the prior of the length scales grows with the square root of
    their number (Hvarfner et al. 2024, arXiv:2402.02229). The linear kernel extrapolates trends such as "larger is
    better" beyond the observations.

    Args:
        groups: (F,) the group of each column, numbered from 0.

    Attributes:
        logs: The logarithms of the hyperparameters: length scales (G,), then the variances of the Matern kernel, the
            linear kernel and the noise.
    """

    def __init__(self, groups: np.ndarray) -> None:
        self._groups = groups
        count = int(groups.max(initial=-1)) + 1
        mean, spread = LENGTHS
        self._priors = np.array([[mean + 0.5 * np.log(max(1, count)), spread]] * count + [list(v) for v in VARIANCES])
        self.logs = self._priors[:, 0]

    def fit(self, points: np.ndarray, scores: np.ndarray) -> None:
        """Sets the hyperparameters.

        Args:
            points: (N, F).
            scores: (N,), standardized.
        """
        means, spreads = self._priors.T
        found: Any = minimize(
            self.loss,
            means,
            args=(self.squares(points), points @ points.T, scores),
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(means - FARTHEST * spreads, means + FARTHEST * spreads, strict=True)),
            options={"maxiter": MOST_STEPS},
        )
        self.logs = found.x

    def squares(self, points: np.ndarray) -> np.ndarray:
        """Returns the squared distances (G, N, N) of points (N, F) in every group of columns."""
        found = np.zeros((len(self.logs) - len(VARIANCES), len(points), len(points)))
        for column, group in zip(points.T, self._groups, strict=True):
            found[group] += (column[:, None] - column) ** 2
        return found

    def condition(self, points: np.ndarray, scores: np.ndarray, candidates: np.ndarray) -> Posterior:
        """Returns the posterior of candidates (M, F) given the scores (N,) of points (N, F)."""
        noisy = self.covariance(points, points) + (self.noise + _JITTER) * np.eye(len(points))
        lower = np.linalg.cholesky(noisy)
        across = solve_triangular(lower, self.covariance(points, candidates), lower=True)
        mean = across.T @ solve_triangular(lower, scores, lower=True)
        return Posterior(self, candidates, mean, across)

    @property
    def noise(self) -> float:
        """The variance of the noise of one score."""
        return float(np.exp(self.logs[-1]))

    def covariance(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Returns the prior covariances (N, M) of points (N, F) and (M, F)."""
        scales = np.exp(self.logs[: -len(VARIANCES)])[self._groups]
        a, b = first / scales, second / scales
        square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
        smooth, linear, _ = np.exp(self.logs[-len(VARIANCES) :])
        return smooth * _matern(np.maximum(square, 0.0)) + linear * first @ second.T

    def variances(self, points: np.ndarray) -> np.ndarray:
        """Returns the prior variances (N,) of points (N, F)."""
        smooth, linear, _ = np.exp(self.logs[-len(VARIANCES) :])
        return smooth + linear * (points**2).sum(1)

    def loss(
        self, logs: np.ndarray, squares: np.ndarray, products: np.ndarray, scores: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Returns the negative logarithm of the posterior density of hyperparameters, and its gradient."""
        inverse = np.exp(-2 * logs[: -len(VARIANCES)])
        smooth, linear, noise = np.exp(logs[-len(VARIANCES) :])
        distance = np.tensordot(inverse, squares, 1)
        matern = smooth * _matern(distance)
        covariance = matern + linear * products
        covariance[np.diag_indices_from(covariance)] += noise + _JITTER
        factor = cho_factor(covariance, lower=True)
        weights = cho_solve(factor, scores)
        # By the covariance: Rasmussen and Williams 2006, equation 5.9, negated.
        slope = 0.5 * (cho_solve(factor, np.eye(len(scores))) - np.outer(weights, weights))
        root = np.sqrt(5 * distance)
        by_distance = slope * smooth * (5 / 3) * (1 + root) * np.exp(-root)
        by_variance = [(slope * matern).sum(), (slope * products).sum() * linear, np.trace(slope) * noise]
        gradient = np.concatenate([np.tensordot(squares, by_distance, 2) * inverse, by_variance])
        means, spreads = self._priors.T
        away = (logs - means) / spreads
        loss = 0.5 * scores @ weights + np.log(np.diag(factor[0])).sum() + 0.5 * away @ away
        return float(loss), gradient + away / spreads


class Posterior:
    """The posterior of candidates.

    Attributes:
        mean, variance: (M,), of the scores without noise.
    """

    def __init__(self, surrogate: Surrogate, candidates: np.ndarray, mean: np.ndarray, across: np.ndarray) -> None:
        self._surrogate, self._candidates, self._across = surrogate, candidates, across
        self.mean = mean
        self.variance = np.maximum(surrogate.variances(candidates) - (across**2).sum(0), 0.0)

    def believe(self, index: int) -> None:
        """Treats a candidate as observed with its predicted score: variances shrink, means do not change."""
        row = self._surrogate.covariance(self._candidates[[index]], self._candidates)[0]
        row = row - self._across[:, index] @ self._across
        row /= np.sqrt(self.variance[index] + self._surrogate.noise + _JITTER)
        self._across = np.vstack([self._across, row])
        self.variance = np.maximum(self.variance - row**2, 0.0)


def _matern(square: np.ndarray) -> np.ndarray:
    """Returns the Matern 5/2 correlation at squared distances."""
    root = np.sqrt(5 * square)
    return (1 + root + root**2 / 3) * np.exp(-root)
