"""A score fitted to a few short real trainings: costs, structure and zero-cost proxies combined by a Gaussian process.

The process decides how much each kind of evidence counts, from the trainings alone: where size pays, it follows size;
where it does not, it follows what the trainings say instead (Rasmussen and Williams 2006, chapters 2 and 5).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nas.architecture import Architecture
from nas.methods.calibrated.gaussian_process import Expectation, choose_telling
from nas.methods.features import cost_features, stage_features, table_of
from nas.methods.zero_cost.proxies import PROXIES
from nas.methods.zero_cost.proxy_cache import ProxyValues
from nas.progress import Progress, Silent

_STEADY = 1e-12
_STEP_SHARE = 0.125
"""Of the average network's multiply-adds: what a training step costs whatever the network (0.12 of NATS-Bench's)."""


class Proxies:
    """The values of every zero-cost proxy, in the order of their names."""

    def __init__(self, values: ProxyValues) -> None:
        self._values = values

    def know(self, digest: str, values: Sequence[float]) -> None:
        """Takes over what was computed before."""
        for name, value in zip(PROXIES.names(), values, strict=True):
            self._values.memory.know(digest, name, value)

    def __call__(self, architecture: Architecture) -> list[float]:
        values = self._values.values(PROXIES.names(), architecture)
        return [values[name] for name in PROXIES.names()]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """What is known of networks untrained: costs (N, 4), structure (N, S) and, if asked for, proxies (N, P)."""

    groups: tuple[np.ndarray, ...]

    @classmethod
    def of(
        cls, architectures: Sequence[Architecture], proxies: Proxies | None, *, progress: Progress | None = None
    ) -> Measured:
        """Measures networks; without proxies nothing but counting is done."""
        counted = tuple(table_of([of(each) for each in architectures]) for of in (cost_features, stage_features))
        if proxies is None:
            return cls(groups=counted)
        progress = progress or Silent()
        progress.start("proxies", len(architectures), "networks")
        values: list[list[float]] = []
        for each in architectures:
            values.append(proxies(each))
            progress.advance()
        progress.finish()
        return cls(groups=(*counted, np.array(values)))


class Frame:
    """Networks as points beside reference networks: equal weight for each group, whatever its number of columns.

    Columns are standardised by the reference. A proxy enters by its normal score among the reference, since the sizes
    of proxies say little and some are infinite. So the point of a network depends on no other network than these.

    Attributes:
        widths: Columns of each group.
        reference: (N, F), the reference networks as points.
        costs: (N,) of training each of them, in multiply-adds of one image.
    """

    def __init__(self, reference: Measured) -> None:
        self._proxies = [
            np.sort(np.nan_to_num(group, nan=-np.inf, posinf=np.inf, neginf=-np.inf), axis=0)
            for group in reference.groups[2:]
        ]
        groups = self._comparable(reference)
        self._means = [group.mean(0) for group in groups]
        self._deviations = [np.where(group.std(0) > _STEADY, group.std(0), np.inf) for group in groups]
        self.widths = tuple(map(len, self._means))
        self.reference = self.points(reference)
        macs = np.exp(reference.groups[0][:, 1])
        self.costs = macs + _STEP_SHARE * macs.mean()

    def points(self, measured: Measured) -> np.ndarray:
        """(N, F) of networks measured."""
        groups = []
        for group, mean, deviation in zip(self._comparable(measured), self._means, self._deviations, strict=True):
            width = len(mean)
            fitted = np.zeros((len(group), width))
            fitted[:, : min(width, group.shape[1])] = group[:, :width]
            groups.append((fitted - mean) / deviation / math.sqrt(max(1, width)))
        return np.hstack(groups)

    def telling(self, count: int) -> list[int]:
        """Rows of the reference whose trainings would tell most about all, for what `count` average ones cost."""
        return choose_telling(self.reference, self.widths, count, self.costs)

    def expectation(self, rows: Sequence[int], accuracies: Sequence[float]) -> Expectation:
        """Of log-odds of being right, from the accuracies (0 to 1) of some rows of the reference."""
        return Expectation(self.reference[list(rows)], [log_odds(each) for each in accuracies], self.widths)

    def _comparable(self, measured: Measured) -> list[np.ndarray]:
        normal = [self._normal(known, values) for known, values in zip(self._proxies, measured.groups[2:], strict=True)]
        return [*measured.groups[:2], *normal]

    @staticmethod
    def _normal(reference: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Ranks among the reference as quantiles of a normal distribution; ties share theirs, NaN is the lowest."""
        from scipy.stats import norm

        values = np.nan_to_num(values, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        columns = []
        for known, asked in zip(reference.T, values.T, strict=True):
            below = (np.searchsorted(known, asked, "left") + np.searchsorted(known, asked, "right")) / 2
            columns.append(norm.ppf((below + 0.5) / (len(known) + 1)))
        return np.stack(columns, axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """All that a calibrated score follows from, as plain data; the expectation is of log-odds of being right.

    Attributes:
        reference: Of networks drawn from the range of the search, or of a table.
        digests: Theirs, so that none is measured again.
        trained: Which of them were trained, with the accuracies that they reached.
    """

    reference: Measured
    digests: tuple[str, ...]
    trained: tuple[tuple[int, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        groups = [group.tolist() for group in self.reference.groups]
        return {"reference": groups, "digests": self.digests, "trained": self.trained}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Calibration:
        """What `to_dict` gave."""
        return cls(
            reference=Measured(groups=tuple(np.array(group, dtype=float) for group in plain["reference"])),
            digests=tuple(plain["digests"]),
            trained=tuple((row, value) for row, value in plain["trained"]),
        )

    @cached_property
    def frame(self) -> Frame:
        return Frame(self.reference)

    @cached_property
    def expectation(self) -> Expectation:
        rows, accuracies = zip(*self.trained, strict=True)
        return self.frame.expectation(rows, accuracies)


class CalibratedScorer:
    """The accuracy that a calibration expects of a network after a training like those that it was fitted to.

    Args:
        proxies: On the data that the calibration's were measured on, with the same seed.
    """

    def __init__(self, calibration: Calibration, proxies: Proxies) -> None:
        self.calibration, self._proxies = calibration, proxies
        for digest, values in zip(calibration.digests, calibration.reference.groups[2], strict=True):
            proxies.know(digest, values.tolist())

    def score(self, architecture: Architecture) -> float:
        """From 0 to 1; higher is better."""
        points = self.calibration.frame.points(Measured.of([architecture], self._proxies))
        return 1 / (1 + math.exp(-float(self.calibration.expectation.at(points)[0][0])))


def log_odds(accuracy: float) -> float:
    """Of being right rather than wrong, for an accuracy from 0 to 1; within 0.001 of both ends all are alike."""
    share = min(max(accuracy, 1e-3), 1 - 1e-3)
    return math.log(share / (1 - share))
