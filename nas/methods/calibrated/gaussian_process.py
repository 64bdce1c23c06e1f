"""Numbers of a few networks, and what they make expected of all: a Gaussian process on what is known untrained.

Rasmussen and Williams 2006, chapters 2 and 5. scikit-learn is imported where it is needed: it takes a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

_STOOD_FOR = 1000
"""Points that stand for all where there are more."""
_DRAWS, _COUNTED_DRAWS, _LEAST = 512, 64, 1e-3
"""Sizes of a kernel that are tried, by what there is of it, and the weight beside the largest below which one is left
out."""
_SLOPE, _SLOPE_BOUNDS, _REST_BOUNDS = 0.7, (0.05, 1.0), (1e-3, 1.0)
"""Of a process that expects a count to pay: the slope expected, in standard deviations of the numbers by those of the
count, the variance of its doubt about it, and the share that the kernel of all features has beside it. Settled on
made-up accuracies (experiments/choosing-trainings/kinds.py), as is the next."""
_COUNTED_WEIGHT = 0.3
"""Prior variance of the slope by each count, for choosing what to train."""


def select_by_variance_reduction(
    points: np.ndarray,
    widths: Sequence[int],
    count: float,
    costs: np.ndarray | None = None,
    counts: np.ndarray | None = None,
) -> list[int]:
    """Rows whose numbers would tell most about those of all, the most telling first, before any number is known.

    Each is the one that takes most variance of the process's prior, summed over all rows, for the square root of what
    it costs, given those before it (Cohn 1996, Neural Networks 9:6; Seo et al. 2000). The root, since by the cost
    itself the cheap are chosen alone, and what they say of the dear is a guess: experiments/choosing-trainings. Why not
    rows far apart: docs/decisions/0008-calibrated-score.md.

    Args:
        points: (N, F); of more than 1,000 so many, at even steps, stand for all.
        widths: Columns of each group, as `FeatureScaler.widths`.
        count: Of rows wanted; all if there are no more.
        costs: (N,) of knowing each row's number, in any unit. Rows are then chosen as long as they fit into what
            `count` average ones cost. None where all cost the same.
        counts: (N, B), as `AveragedGP` has them; the prior then believes in each of them a little.
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
    affordable = np.ones(len(points), dtype=bool)
    left = count + 1e-9  # so that rounding leaves none out where all are affordable
    while (affordable := affordable & (each <= left)).any():
        gains = np.where(affordable, (between**2).sum(1) / (own + NOISE) / np.sqrt(each), -1.0)
        row = int(gains.argmax())
        chosen.append(row)
        affordable[row] = False
        left -= each[row]
        # What is left once the row is known: one step of a Cholesky factorization.
        covariance = kernel(slice(None), [row])[:, 0] - factors @ factors[row]
        factor = covariance / math.sqrt(own[row] + NOISE)
        factors = np.column_stack([factors, factor])
        between = between - np.outer(factor, factor[all_rows])
        own = own - factor**2
    return chosen


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Process:
    """A process with all its sizes, told the numbers in units of their standard deviation.

    Attributes:
        weight: What it counts among all; they add up to 1.
        theta: Logarithms of the sizes of the kernel on all columns but the counts.
        rest: What that kernel is multiplied by.
        noise: Variance of what numbers of one network differ by, beside what is known.
        column, slope: Of the count that it expects to pay, and the variance of its doubt about how much; None for none.
        inverse, pull: (n, n) of the covariance of the given, and (n,) that times what was not expected of them.
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
    """Gaussian process that predicts the numbers of all points from those of a few.

    Its kernel is a linear one for each group of columns, a smooth one of all and noise. So few numbers do not determine
    its hyperparameters: the prediction is the mean over values sampled evenly (by logarithm, within the kernel's
    bounds), each weighted by its marginal likelihood (Rasmussen and Williams 2006, section 5.2). Decision 0008 says why
    the likeliest alone is not used. With fewer than two different numbers it predicts the same for all.

    Given counts, such as the sum of log-channels, as many more processes are averaged with it, by the same weights: one
    for each count, which expects that it pays, and of which the kernel is what it misses (Bayesian model averaging,
    Hoeting et al. 1999, Statistical Science 14:4). So size pays until the numbers say otherwise.

    Args:
        points: (N, F) of the networks whose numbers are known.
        numbers: Theirs, in any unit, such as log-odds of being right.
        widths: Columns of each group, as `FeatureScaler.widths`.
        counts: (N, B) of the same networks, each standardized by the reference; a column of zeros is left out.
        variances: (N,) of the numbers' noise as far as it is known, in their unit squared; more is fitted. None: zero.
    """

    def __init__(
        self,
        points: np.ndarray,
        numbers: Sequence[float],
        widths: Sequence[int],
        *,
        counts: np.ndarray | None = None,
        variances: np.ndarray | None = None,
    ) -> None:
        from nas.methods.calibrated.kernels import prior

        given = np.array(numbers, dtype=float)
        self._mean, self._points = given.mean(), points
        self._kernel: Any = prior(widths)
        self._counts = np.zeros((len(points), 0)) if counts is None else counts
        self._processes: list[_Process] = []
        if len(set(given)) < 2:
            return
        self._scale = given.std()
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
        """What is expected of (N, F) points with (N, B) counts, and the standard deviations of the doubt about them.

        The doubt is about a number that has no noise but the fitted one.
        """
        if not self._processes:
            return np.full(len(points), self._mean), np.full(len(points), math.inf)
        mean, square = np.zeros(len(points)), np.zeros(len(points))
        asked = np.zeros((len(points), self._counts.shape[1])) if counts is None else counts
        theta, plain, variances = None, np.zeros(0), np.zeros(0)
        for each in self._processes:
            if each.theta is not theta:  # those that expect a count to pay share theirs
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
        """Log evidence (S,) of the processes of all sizes, less the logarithm of how many they are, and these."""
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
    """The mean (N,) of accuracies whose logits have normal distributions; of all the same logit, its accuracy.

    By Gauss-Hermite quadrature of the logistic function. It is nearer to one half than the accuracy of the mean logit.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    spread = np.where(np.isfinite(deviation), deviation, 0.0)  # below two different numbers no doubt is known
    accuracies = 1 / (1 + np.exp(-(mean[:, None] + spread[:, None] * nodes)))
    return accuracies @ (weights / weights.sum())


def _draw(bounds: np.ndarray, count: int) -> np.ndarray:
    """Points (count, H) spread evenly within bounds (H, 2), always the same: Sobol's sequence."""
    from scipy.stats import qmc

    sequence: Any = qmc.Sobol  # stubs of scipy 1.15 and later know "rng" alone, older ones "seed"
    return qmc.scale(sequence(len(bounds), seed=0).random(count), bounds[:, 0], bounds[:, 1])
