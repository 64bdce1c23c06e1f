"""Kernels of Gaussian processes on points whose columns come in groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Hyperparameter, Kernel, WhiteKernel

NOISE = 0.1


def prior(widths: Sequence[int]) -> Kernel:
    """Returns the kernel before fitting: a linear kernel per group of columns and a smooth one on all columns."""
    return GroupedLinear(np.full(len(widths), 0.3), tuple(widths)) + ConstantKernel(0.3, (1e-3, 1e2)) * RBF(
        2.0, (0.5, 20.0)
    )


def noise() -> Kernel:
    """Returns the noise kernel before fitting."""
    return WhiteKernel(NOISE, (1e-3, 1.0))


class GroupedLinear(Kernel):
    """A sum of linear kernels, one per group of columns, each with its own fitted weight.

    This is automatic relevance determination by groups (Rasmussen and Williams 2006, section 5.1).

    Args:
        weights: (G,) prior variances of the slopes of each group, in units of the values' variance.
        widths: Columns of each group, in the points' order.
        weights_bounds: Bounds within which the weights are fitted.
    """

    def __init__(
        self, weights: np.ndarray, widths: tuple[int, ...], weights_bounds: tuple[float, float] = (1e-3, 1e2)
    ) -> None:
        self.weights, self.widths, self.weights_bounds = weights, widths, weights_bounds

    @property
    def hyperparameter_weights(self) -> Hyperparameter:
        """The hyperparameter, found by scikit-learn through this name."""
        return Hyperparameter("weights", "numeric", self.weights_bounds, len(self.widths))

    # The names of arguments are scikit-learn's.
    def __call__(self, X: np.ndarray, Y: np.ndarray | None = None, eval_gradient: bool = False) -> Any:  # noqa: N803
        """Returns covariances (N, M) of points (N, F) and (M, F), and gradients by log weights (N, N, G) if asked."""
        ends = np.cumsum(self.widths)[:-1]
        pairs = zip(np.split(X, ends, 1), np.split(X if Y is None else Y, ends, 1), strict=True)
        parts = [weight * first @ second.T for weight, (first, second) in zip(self._all(), pairs, strict=True)]
        total = np.sum(parts, axis=0)
        return (total, np.stack(parts, axis=-1)) if eval_gradient else total

    def diag(self, X: np.ndarray) -> np.ndarray:  # type: ignore[override]  # noqa: N803
        """Returns the variances (N,) of points."""
        return X**2 @ np.repeat(self._all(), self.widths)

    def is_stationary(self) -> bool:  # type: ignore[override]
        """Returns whether it depends only on differences of points."""
        return False

    def _all(self) -> np.ndarray:
        return np.atleast_1d(self.weights)  # scikit-learn gives a single one as a number
