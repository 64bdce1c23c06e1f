"""Kernels of Gaussian processes on points whose columns come in groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Hyperparameter, Kernel, WhiteKernel

NOISE = 0.1


def prior(widths: Sequence[int]) -> Kernel:
    """A linear kernel for each group of columns and a smooth one of all, before anything is fitted."""
    return GroupedLinear(np.full(len(widths), 0.3), tuple(widths)) + ConstantKernel(0.3, (1e-3, 1e2)) * RBF(
        2.0, (0.5, 20.0)
    )


def noise() -> Kernel:
    """That of the numbers, before anything is fitted."""
    return WhiteKernel(NOISE, (1e-3, 1.0))


class GroupedLinear(Kernel):
    """A sum of linear kernels, one for each group of columns, each with a weight of its own that is fitted.

    So a process says how much each kind of evidence counts: automatic relevance determination, by groups (Rasmussen and
    Williams 2006, section 5.1).

    Args:
        weights: (G,) prior variances of the slopes by each group, in units of the numbers' variance.
        widths: Columns of each group, in the points' order.
        weights_bounds: Between which the weights are fitted.
    """

    def __init__(
        self, weights: np.ndarray, widths: tuple[int, ...], weights_bounds: tuple[float, float] = (1e-3, 1e2)
    ) -> None:
        self.weights, self.widths, self.weights_bounds = weights, widths, weights_bounds

    @property
    def hyperparameter_weights(self) -> Hyperparameter:
        """By this name scikit-learn finds what is to be fitted."""
        return Hyperparameter("weights", "numeric", self.weights_bounds, len(self.widths))

    # The names of arguments are scikit-learn's.
    def __call__(self, X: np.ndarray, Y: np.ndarray | None = None, eval_gradient: bool = False) -> Any:  # noqa: N803
        """Covariances (N, M) of points (N, F) and (M, F); if asked, with slopes by the weights' logs (N, N, G)."""
        ends = np.cumsum(self.widths)[:-1]
        pairs = zip(np.split(X, ends, 1), np.split(X if Y is None else Y, ends, 1), strict=True)
        parts = [weight * first @ second.T for weight, (first, second) in zip(self._all(), pairs, strict=True)]
        total = np.sum(parts, axis=0)
        return (total, np.stack(parts, axis=-1)) if eval_gradient else total

    def diag(self, X: np.ndarray) -> np.ndarray:  # type: ignore[override]  # noqa: N803
        """Variances (N,) of points."""
        return X**2 @ np.repeat(self._all(), self.widths)

    def is_stationary(self) -> bool:  # type: ignore[override]
        """Whether it depends on differences of points alone."""
        return False

    def _all(self) -> np.ndarray:
        return np.atleast_1d(self.weights)  # scikit-learn gives a single one as a number
