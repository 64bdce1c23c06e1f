"""What is expected of networks after longer trainings, from trainings of two lengths: the process that was tried.

Errors fall about as a power of what was seen (Hestness et al. 2017, arXiv 1712.00409), so log-odds of being right rise
about evenly with the logarithm of a training's length, of each network with a level and a slope of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import qmc
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

from nas.methods.calibrated.kernels import NOISE, prior

_DRAWS, _LEAST = 2048, 1e-3


class Ahead:
    """As `nas.methods.calibrated.gaussian_process.AveragedGP`, with a time beside the points.

    Args:
        points: (N, F) of the networks whose numbers are known.
        numbers: Theirs: log-odds of being right.
        widths: Columns of each group, as `Frame.widths`.
        lengths: Epochs of the trainings that gave the numbers, of two kinds or more.
    """

    def __init__(
        self, points: np.ndarray, numbers: Sequence[float], widths: Sequence[int], lengths: Sequence[float]
    ) -> None:
        given, times = np.array(numbers, dtype=float), np.log(lengths) / math.log(3)
        self._middle, last = times.mean(), times.max()
        times = times - self._middle
        self._slope = float(np.polyfit(times, given, 1)[0])
        left, inputs = given - self._slope * times, np.column_stack([points, times])
        kernel: Any = Growing(prior(widths)) + EarlierNoise(last - self._middle)
        low, high = kernel.bounds.T
        sizes = qmc.scale(qmc.Sobol(len(low), seed=0).random(_DRAWS), low, high)
        first = self._process(kernel, inputs, left)
        evidence = np.array([first.log_marginal_likelihood(each, clone_kernel=False) for each in sizes])
        weights = np.exp(evidence - evidence.max())
        weights[weights < _LEAST] = 0.0
        self._processes = [
            (weights[i] / weights.sum(), self._process(kernel.clone_with_theta(sizes[i]), inputs, left))
            for i in np.flatnonzero(weights)
        ]

    def at(self, points: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
        """What is expected of (N, F) points after so many epochs, and the standard deviations of the doubt."""
        time = math.log(length) / math.log(3) - self._middle
        inputs = np.column_stack([points, np.full(len(points), time)])
        mean, square = np.zeros(len(points)), np.zeros(len(points))
        for weight, process in self._processes:
            expected, deviation = process.predict(inputs, return_std=True)[:2]
            mean += weight * expected
            square += weight * (deviation**2 + expected**2)
        return mean + self._slope * time, np.sqrt(np.maximum(square - mean**2, 0.0))

    @staticmethod
    def _process(kernel: Any, points: np.ndarray, numbers: np.ndarray) -> Any:
        made: Any = GaussianProcessRegressor
        return made(kernel, optimizer=None, normalize_y=True).fit(points, numbers)


class Growing(Kernel):
    """Of numbers that grow in time, the last column of points: each has a level, at time zero, and a slope.

    Levels and slopes are alike where points are, by one kernel for both, and neither says anything about the other
    (an intrinsic model of coregionalisation; Alvarez, Rosasco and Lawrence 2012, Foundations and Trends in Machine
    Learning 4:3, section 4.2).

    Args:
        kernel: On all columns but the last.
        slope: Variance of the slopes, in units of that of the levels.
        slope_bounds: Between which it is fitted.
    """

    def __init__(self, kernel: Kernel, slope: float = 0.1, slope_bounds: tuple[float, float] = (1e-3, 10.0)) -> None:
        self.kernel, self.slope, self.slope_bounds = kernel, slope, slope_bounds

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """By these names scikit-learn sets what is fitted."""
        found: dict[str, Any] = {"kernel": self.kernel, "slope": self.slope, "slope_bounds": self.slope_bounds}
        if deep:
            found.update((f"kernel__{name}", value) for name, value in self.kernel.get_params().items())
        return found

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """What is fitted: its own, then those of the kernel within."""
        inner = [
            Hyperparameter(f"kernel__{each.name}", each.value_type, each.bounds, each.n_elements)
            for each in self.kernel.hyperparameters
        ]
        return [Hyperparameter("slope", "numeric", self.slope_bounds), *inner]

    def __call__(self, X: np.ndarray, Y: np.ndarray | None = None) -> Any:  # noqa: N803
        """Covariances (N, M) of points (N, F + 1) and (M, F + 1)."""
        within: Any = self.kernel
        rise = self.slope * np.outer(X[:, -1], X[:, -1] if Y is None else Y[:, -1])
        return within(X[:, :-1], None if Y is None else Y[:, :-1]) * (1 + rise)

    def diag(self, X: np.ndarray) -> np.ndarray:  # type: ignore[override]  # noqa: N803
        """Variances (N,) of points."""
        within: Any = self.kernel
        return within.diag(X[:, :-1]) * (1 + self.slope * X[:, -1] ** 2)

    def is_stationary(self) -> bool:  # type: ignore[override]
        """Whether it depends on differences of points alone."""
        return False


class EarlierNoise(Kernel):
    """Noise that is larger the earlier a number is: it falls as a power of the length of a training.

    Args:
        last: The time from which on it falls no more, as the last column of points has it.
        level: Variance then, in units of the numbers' variance.
        earlier: How many times as large it is one unit of time before.
        level_bounds, earlier_bounds: Between which they are fitted.
    """

    def __init__(
        self,
        last: float,
        level: float = NOISE,
        earlier: float = 3.0,
        level_bounds: tuple[float, float] = (1e-3, 1.0),
        earlier_bounds: tuple[float, float] = (1.0, 30.0),
    ) -> None:
        self.last, self.level, self.earlier = last, level, earlier
        self.level_bounds, self.earlier_bounds = level_bounds, earlier_bounds

    @property
    def hyperparameter_level(self) -> Hyperparameter:
        """By this name scikit-learn finds what is to be fitted."""
        return Hyperparameter("level", "numeric", self.level_bounds)

    @property
    def hyperparameter_earlier(self) -> Hyperparameter:
        """Likewise."""
        return Hyperparameter("earlier", "numeric", self.earlier_bounds)

    def __call__(self, X: np.ndarray, Y: np.ndarray | None = None) -> Any:  # noqa: N803
        """Covariances (N, N) of points (N, F + 1) with themselves; none with others, (N, M)."""
        return np.diag(self.diag(X)) if Y is None else np.zeros((len(X), len(Y)))

    def diag(self, X: np.ndarray) -> np.ndarray:  # type: ignore[override]  # noqa: N803
        """Variances (N,) of points."""
        return self.level * self.earlier ** np.maximum(0.0, self.last - X[:, -1])

    def is_stationary(self) -> bool:  # type: ignore[override]
        """Whether it depends on differences of points alone."""
        return False
