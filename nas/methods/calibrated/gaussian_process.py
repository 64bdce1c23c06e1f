"""Gaussian process regression from training-free features of networks to a measured value, such as logit accuracy.

Rasmussen and Williams 2006, chapters 2 and 5. scikit-learn is imported where it is needed: it takes a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

_STOOD_FOR = 1000
"""Larger sets of points are subsampled to this size."""
_DRAWS, _COUNTED_DRAWS, _LEAST = 512, 64, 1e-3
"""Number of hyperparameter samples per kind of process, and the relative weight below which a sample is dropped."""
_SLOPE, _SLOPE_BOUNDS, _REST_BOUNDS = 0.7, (0.05, 1.0), (1e-3, 1.0)
"""Prior of a process with a count as its mean function: mean and variance of the slope, in standard deviations of the
values per one of the count, and the factor of the kernel on all features. Chosen on synthetic accuracies
(experiments/choosing-trainings/kinds.py), as is the next constant."""
_COUNTED_WEIGHT = 0.3
"""Prior variance of the slope of each count, for selecting the networks to train."""


def select_by_variance_reduction(
    points: np.ndarray,
    widths: Sequence[int],
    count: float,
    costs: np.ndarray | None = None,
    counts: np.ndarray | None = None,
    known: Sequence[int] = (),
) -> list[int]:
    """Returns the rows to measure so that the variance at all rows is reduced most, in greedy order.

    Each row reduces the prior variance, summed over all rows and given the earlier choices, most per square root of its
    cost (Cohn 1996, Neural Networks 9:6; Seo et al. 2000). The root is used because division by the cost itself selects
    only cheap rows, from which expensive ones are extrapolated: experiments/choosing-trainings. Why not select rows far
    apart: docs/decisions/0008-calibrated-score.md.

    Args:
        points: (N, F); more than 1,000 are subsampled to 1,000 at even steps.
        widths: Columns of each group, as `FeatureScaler.widths`.
        count: Number of rows; all if there are no more.
        costs: (N,), cost of measuring each row, in any unit. Rows are then selected until their total cost is that of
            `count` average ones. None if all cost the same.
        counts: (N, B), as for `AveragedGP`; the prior then has a small slope variance for each.
        known: Rows that are measured anyway; they cost nothing, and are not returned.
    """
    from nas.methods.calibrated.kernels import NOISE, prior

    prior_kernel: Any = prior(widths)
    believed = np.zeros((len(points), 0)) if counts is None else math.sqrt(_COUNTED_WEIGHT) * counts

    def kernel(these: Any, those: Any) -> np.ndarray:
        return prior_kernel(points[these], points[those]) + believed[these] @ believed[those].T

    all_rows = np.linspace(0, len(points) - 1, min(len(points), _STOOD_FOR)).round().astype(int)
    between, own = kernel(slice(None), all_rows), prior_kernel.diag(points) + (believed**2).sum(1)
    factors = np.zeros((len(points), 0))
    each = np.ones(len(points)) if costs is None else costs / costs.mean()
    chosen: list[int] = []
    given = list(known)
    affordable = np.ones(len(points), dtype=bool)
    affordable[given] = False
    left = count + 1e-9  # tolerance, so that rounding excludes no row if all are affordable
    while given or (affordable := affordable & (each <= left)).any():
        if given:
            row = given.pop(0)
        else:
            gains = np.where(affordable, (between**2).sum(1) / (own + NOISE) / np.sqrt(each), -1.0)
            row = int(gains.argmax())
            chosen.append(row)
            affordable[row] = False
            left -= each[row]
        # Remaining variance once the row is measured: one step of a Cholesky factorization.
        covariance = kernel(slice(None), [row])[:, 0] - factors @ factors[row]
        factor = covariance / math.sqrt(own[row] + NOISE)
        factors = np.column_stack([factors, factor])
        between = between - np.outer(factor, factor[all_rows])
        own = own - factor**2
    return chosen


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Process:
    """A process with fixed hyperparameters, fitted to standardized values.

    Attributes:
        weight: Its weight in the average; the weights of all processes add up to 1.
        theta: Log hyperparameters of the kernel on all columns but the counts.
        rest: Factor of that kernel.
        noise: Noise variance in addition to the known variances.
        column, slope: Column of the count in its mean function, and the prior variance of the slope; None for no count.
        inverse, pull: (n, n) inverse of the training covariance, and (n,) that times the residuals from the prior mean.
    """

    weight: float
    theta: np.ndarray
    rest: float
    noise: float
    column: int | None
    slope: float
    inverse: np.ndarray
    pull: np.ndarray


class AveragedGP:
    """Gaussian process averaged over its hyperparameters.

    Its kernel is the sum of a linear one per group of columns, a smooth one on all columns, and noise. A few values do
    not determine the hyperparameters, so the prediction is the mean over samples of them, evenly spread (in logarithm,
    within the kernel's bounds) and weighted by marginal likelihood (Rasmussen and Williams 2006, section 5.2). Decision
    0008 explains why the most likely sample alone is not used. With fewer than two distinct values it predicts their
    mean everywhere.

    For each of the counts, such as the sum of log-channels, another process is averaged with the same kind of weights:
    its mean function is linear in the count, with a positive prior slope, and its kernel models the residuals (Bayesian
    model averaging, Hoeting et al. 1999, Statistical Science 14:4). So predictions rise with size until the values
    contradict it.

    Args:
        points: (N, F), the measured networks.
        numbers: (N,), their values in any unit, such as logits of accuracy.
        widths: Columns of each group, as `FeatureScaler.widths`.
        counts: (N, B) of the same networks, each standardized by the reference; a column of zeros is left out.
        variances: (N,), known noise variances of the values; further noise is fitted. None means zero.
        like: Values whose mean and deviation standardize them; None for their own.
    """

    def __init__(
        self,
        points: np.ndarray,
        numbers: Sequence[float],
        widths: Sequence[int],
        *,
        counts: np.ndarray | None = None,
        variances: np.ndarray | None = None,
        like: Sequence[float] | None = None,
    ) -> None:
        from nas.methods.calibrated.kernels import prior

        given = np.array(numbers, dtype=float)
        typical = given if like is None else np.array(like, dtype=float)
        self._mean, self._points = typical.mean(), points
        self._kernel: Any = prior(widths)
        self._counts = np.zeros((len(points), 0)) if counts is None else counts
        self._processes: list[_Process] = []
        if len(set(given)) < 2:
            return
        self._scale = typical.std()
        known = np.zeros(len(points)) if variances is None else variances / self._scale**2
        found = [self._at_sizes(None, (given - self._mean) / self._scale, known)]
        for column in np.flatnonzero(self._counts.any(0)):
            found.append(self._at_sizes(int(column), (given - self._mean) / self._scale, known))
        evidence = np.concatenate([each for each, _ in found])
        weights = np.exp(evidence - evidence.max())
        weights[weights < _LEAST] = 0.0
        weights /= weights.sum()
        processes = [process for _, made in found for process in made]
        self._processes = [replace(processes[i], weight=float(weights[i])) for i in np.flatnonzero(weights)]

    def at(self, points: np.ndarray, counts: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Returns predicted means and standard deviations (N,) of points (N, F) with counts (N, B).

        The deviations include the fitted noise, but no known noise variance.
        """
        if not self._processes:
            return np.full(len(points), self._mean), np.full(len(points), math.inf)
        mean, square = np.zeros(len(points)), np.zeros(len(points))
        asked = np.zeros((len(points), self._counts.shape[1])) if counts is None else counts
        theta, plain, variances = None, np.zeros(0), np.zeros(0)
        for each in self._processes:
            if each.theta is not theta:  # the processes with a count share theirs
                theta = self._kernel.theta = each.theta
                plain, variances = self._kernel(points, self._points), self._kernel.diag(points)
            between, own = each.rest * plain, each.rest * variances + each.noise
            expected = np.zeros(len(points))
            if each.column is not None:
                count = asked[:, each.column]
                between = between + each.slope * np.outer(count, self._counts[:, each.column])
                own, expected = own + each.slope * count**2, _SLOPE * count
            expected = expected + between @ each.pull
            variance = np.maximum(own - ((between @ each.inverse) * between).sum(1), 0.0)
            mean += each.weight * expected
            square += each.weight * (variance + expected**2)
        deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
        return self._mean + self._scale * mean, self._scale * deviation

    def _at_sizes(
        self, column: int | None, numbers: np.ndarray, known: np.ndarray
    ) -> tuple[np.ndarray, list[_Process]]:
        """Returns the log evidence (S,) of each hyperparameter sample minus log S, and the processes."""
        from nas.methods.calibrated.kernels import noise

        n, usual, noises = len(numbers), self._kernel.theta, noise().bounds
        if column is None:
            sizes, missed = _draw(np.vstack([self._kernel.bounds, noises]), _DRAWS), numbers
            thetas, rests, slopes = list(sizes[:, :-1]), np.ones(len(sizes)), np.zeros(len(sizes))
            between = np.stack([self._covariance(theta) for theta in thetas])
        else:
            count = self._counts[:, column]
            sizes = _draw(np.log([_SLOPE_BOUNDS, _REST_BOUNDS, np.exp(noises[0])]), _COUNTED_DRAWS)
            thetas, missed = [usual] * len(sizes), numbers - _SLOPE * count
            slopes, rests = np.exp(sizes[:, 0]), np.exp(sizes[:, 1])
            between = rests[:, None, None] * self._covariance(usual) + slopes[:, None, None] * np.outer(count, count)
        self._kernel.theta = usual
        fitted = np.exp(sizes[:, -1])
        covariance = between + (fitted[:, None] + known + 1e-10)[:, :, None] * np.eye(n)
        inverse = np.linalg.inv(covariance)
        pull = inverse @ missed
        evidence = -0.5 * (pull @ missed + np.linalg.slogdet(covariance)[1]) - math.log(len(sizes))
        processes = [
            _Process(
                weight=0.0,
                theta=thetas[i],
                rest=float(rests[i]),
                noise=float(fitted[i]),
                column=column,
                slope=float(slopes[i]),
                inverse=inverse[i],
                pull=pull[i],
            )
            for i in range(len(sizes))
        ]
        return evidence, processes

    def _covariance(self, theta: np.ndarray) -> np.ndarray:
        self._kernel.theta = theta
        return self._kernel(self._points)


def expected_accuracy(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Returns the mean (N,) of accuracies whose logits are normally distributed.

    By Gauss-Hermite quadrature of the logistic function. It is nearer to one half than the accuracy of the mean logit.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    spread = np.where(np.isfinite(deviation), deviation, 0.0)  # infinite below two distinct values
    accuracies = 1 / (1 + np.exp(-(mean[:, None] + spread[:, None] * nodes)))
    return accuracies @ (weights / weights.sum())


def _draw(bounds: np.ndarray, count: int) -> np.ndarray:
    """Returns points (count, H) spread evenly within bounds (H, 2), always the same: a Sobol sequence."""
    from scipy.stats import qmc

    sequence: Any = qmc.Sobol  # stubs of scipy 1.15 and later know "rng" alone, older ones "seed"
    return qmc.scale(sequence(len(bounds), seed=0).random(count), bounds[:, 0], bounds[:, 1])
