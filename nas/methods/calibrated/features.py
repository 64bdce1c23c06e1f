"""Training-free features of networks, in groups, and their scaling to inputs of a Gaussian process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.architecture import Architecture
from nas.methods.calibrated.gaussian_process import AveragedGP, select_by_variance_reduction
from nas.methods.features import STAGE_FEATURES, cost_features, stage_features, table_of
from nas.methods.zero_cost.proxies import PROXIES
from nas.methods.zero_cost.proxy_cache import ProxyValues
from nas.progress import Progress, Silent

_STEADY = 1e-12
_STEP_SHARE = 0.125
"""Fixed cost of a training step, as a share of the average network's multiply-adds (0.12 on NATS-Bench)."""


class Proxies:
    """Returns the values of every zero-cost proxy, in the order of their names."""

    def __init__(self, values: ProxyValues) -> None:
        self._values = values

    def know(self, digest: str, values: Sequence[float]) -> None:
        """Adds values that were computed before."""
        for name, value in zip(PROXIES.names(), values, strict=True):
            self._values.memory.know(digest, name, value)

    def __call__(self, architecture: Architecture) -> list[float]:
        values = self._values.values(PROXIES.names(), architecture)
        return [values[name] for name in PROXIES.names()]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureGroups:
    """Features of untrained networks: costs (N, 4), structure (N, S) and optionally proxies (N, P)."""

    groups: tuple[np.ndarray, ...]

    @classmethod
    def of(
        cls, architectures: Sequence[Architecture], proxies: Proxies | None, *, progress: Progress | None = None
    ) -> FeatureGroups:
        """Measures networks; without proxies it only counts."""
        if proxies is None:
            return cls(groups=_counted(architectures))
        progress = progress or Silent()
        progress.start("proxies", len(architectures), "networks")
        values: list[list[float]] = []
        for each in architectures:
            values.append(proxies(each))
            progress.advance()
        progress.finish()
        return cls.measured(architectures, values)

    @classmethod
    def measured(cls, architectures: Sequence[Architecture], proxies: Sequence[Sequence[float]]) -> FeatureGroups:
        """Returns the features of networks whose proxies are known: values in the order of their names."""
        return cls(groups=(*_counted(architectures), np.array(proxies)))

    def rows(self, kept: Sequence[int]) -> FeatureGroups:
        """Returns the features of some of the networks."""
        return FeatureGroups(groups=tuple(group[list(kept)] for group in self.groups))


def _counted(architectures: Sequence[Architecture]) -> tuple[np.ndarray, ...]:
    return tuple(table_of([of(each) for each in architectures]) for of in (cost_features, stage_features))


class FeatureScaler:
    """Scales features relative to reference networks; each group has equal weight, whatever its number of columns.

    Columns are standardized by the reference networks. Proxies are converted to normal scores among them, since their
    magnitudes carry little information and may be infinite. A point thus depends only on its network and these.

    Attributes:
        widths: Number of columns per group.
        reference: (N, F), the reference networks as points.
        counts: (N, 5), their counts, standardized.
        costs: (N,), cost of training each of them, in multiply-adds per image.
    """

    def __init__(self, reference: FeatureGroups) -> None:
        self._proxies = [
            np.sort(np.nan_to_num(group, nan=-np.inf, posinf=np.inf, neginf=-np.inf), axis=0)
            for group in reference.groups[2:]
        ]
        groups = self._comparable(reference)
        self._means = [group.mean(0) for group in groups]
        self._deviations = [np.where(group.std(0) > _STEADY, group.std(0), np.inf) for group in groups]
        self.widths = tuple(map(len, self._means))
        self.reference = self.points(reference)
        plain = _counts(reference)
        self._count_mean, self._count_deviation = plain.mean(0), plain.std(0)
        self.counts = self.standard_counts(reference)
        macs = np.exp(reference.groups[0][:, 1])
        self.costs = macs + _STEP_SHARE * macs.mean()

    def points(self, measured: FeatureGroups) -> np.ndarray:
        """Returns networks as points (N, F)."""
        groups = []
        for group, mean, deviation in zip(self._comparable(measured), self._means, self._deviations, strict=True):
            width = len(mean)
            fitted = np.zeros((len(group), width))
            fitted[:, : min(width, group.shape[1])] = group[:, :width]
            groups.append((fitted - mean) / deviation / math.sqrt(max(1, width)))
        return np.hstack(groups)

    def standard_counts(self, measured: FeatureGroups) -> np.ndarray:
        """Returns the counts (N, 5), standardized by the reference; zeros for counts that are constant there."""
        deviation = np.where(self._count_deviation > _STEADY, self._count_deviation, np.inf)
        return (_counts(measured) - self._count_mean) / deviation

    def select(self, count: int, *, known: Sequence[int] = ()) -> list[int]:
        """Returns the reference rows to train: those that reduce variance most, at the cost of `count` average ones.

        Args:
            known: Rows that are trained anyway, beside these.
        """
        return select_by_variance_reduction(self.reference, self.widths, count, self.costs, self.counts, known)

    def fit(
        self,
        rows: Sequence[int],
        accuracies: Sequence[float],
        images: int | None = None,
        *,
        like: Sequence[float] | None = None,
    ) -> AveragedGP:
        """Returns a process fitted to the logits of the accuracies (0 to 1) of some reference rows.

        Args:
            images: Number n of images that the accuracies were measured on: the sampling variance of the logit of an
                accuracy p is 1 / (n p (1 - p)). None if unknown.
            like: Accuracies whose mean and deviation standardize these; None for their own.
        """
        shares = np.array([_clipped(each) for each in accuracies])
        return AveragedGP(
            self.reference[list(rows)],
            [logit(each) for each in accuracies],
            self.widths,
            counts=self.counts[list(rows)],
            variances=None if images is None else 1 / (images * shares * (1 - shares)),
            like=None if like is None else [logit(each) for each in like],
        )

    def _comparable(self, measured: FeatureGroups) -> list[np.ndarray]:
        normal = [self._normal(known, values) for known, values in zip(self._proxies, measured.groups[2:], strict=True)]
        return [*measured.groups[:2], *normal]

    @staticmethod
    def _normal(reference: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Converts values to normal scores of their ranks among the reference; ties share one, NaN is the lowest."""
        from scipy.stats import norm

        values = np.nan_to_num(values, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        columns = []
        for known, asked in zip(reference.T, values.T, strict=True):
            below = (np.searchsorted(known, asked, "left") + np.searchsorted(known, asked, "right")) / 2
            columns.append(norm.ppf((below + 0.5) / (len(known) + 1)))
        return np.stack(columns, axis=1)


def logit(accuracy: float) -> float:
    """Returns the logit of an accuracy from 0 to 1, which is clipped to 0.001 from both ends."""
    share = _clipped(accuracy)
    return math.log(share / (1 - share))


def _clipped(accuracy: float) -> float:
    return min(max(accuracy, 1e-3), 1 - 1e-3)


def _counts(measured: FeatureGroups) -> np.ndarray:
    """Returns log parameters, log multiply-adds, depth, log-channels and share of convolutional layers: (N, 5)."""
    costs, stages = measured.groups[:2]
    layers, attending = stages[:, 1::STAGE_FEATURES], stages[:, 3::STAGE_FEATURES]
    convolving = 1 - (layers * attending).sum(1) / np.maximum(1, layers.sum(1))
    return np.column_stack([costs[:, :4], convolving])
