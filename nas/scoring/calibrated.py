"""A score fitted to a few short real trainings: costs, structure and zero-cost proxies combined by a Gaussian process.

The process decides how much each kind of evidence counts, from the trainings alone: where size pays, it follows size;
where it does not, it follows what the trainings say instead (Rasmussen and Williams 2006, chapters 2 and 5).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nas.architecture import Architecture
from nas.data import Dataset
from nas.scoring.features import cost_features, stage_features, table_of
from nas.scoring.zero_cost import PROXIES, ZeroCostScorer

Observe = Callable[[Architecture], float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """What a model expects of networks: accuracies as log-odds, and the standard deviations of its doubt."""

    mean: np.ndarray
    deviation: np.ndarray


class Features:
    """Networks as points: equal weight for costs, structure and proxies, whatever the number of columns in each.

    Columns are standardised over the networks given; a proxy enters by its normal scores, since sizes of proxies say
    little and some are infinite.

    Args:
        data: For the proxies; None leaves them out.
    """

    def __init__(self, architectures: Sequence[Architecture], data: Dataset | None, *, seed: int = 0) -> None:
        groups = [
            _standard(table_of([cost_features(each) for each in architectures])),
            _standard(table_of([stage_features(each) for each in architectures])),
        ]
        if data is not None:
            scorers = [ZeroCostScorer(name, data, seed=seed) for name in PROXIES.names()]
            values = np.array([[scorer.score(each) for scorer in scorers] for each in architectures])
            groups.append(_standard(np.apply_along_axis(_normal_scores, 0, values)))
        self.points = np.hstack([group / math.sqrt(max(1, group.shape[1])) for group in groups])


def choose_spread(points: np.ndarray, count: int) -> list[int]:
    """Rows that cover all others well: the most central first, then always the one farthest from those chosen."""
    centre = ((points - points.mean(0)) ** 2).sum(1)
    chosen = [int(centre.argmin())]
    nearest = ((points - points[chosen[0]]) ** 2).sum(1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(1))
    return chosen


def predict(points: np.ndarray, observed: Sequence[int], accuracies: Sequence[float]) -> Prediction:
    """A Gaussian process fitted to the accuracies of some rows, asked about all.

    Its kernel is a linear one plus a smooth one plus noise; their sizes and the smooth one's reach are those of the
    greatest marginal likelihood. With fewer than two different accuracies it expects the same of all.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

    given = np.array([_log_odds(value) for value in accuracies])
    if len(set(given)) < 2:
        return Prediction(mean=np.full(len(points), given.mean()), deviation=np.full(len(points), math.inf))
    kernel = (
        ConstantKernel(0.3, (1e-3, 1e2)) * DotProduct(0.0, "fixed")
        + ConstantKernel(0.3, (1e-3, 1e2)) * RBF(2.0, (0.5, 20.0))
        + WhiteKernel(0.1, (1e-3, 1.0))
    )
    process = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a size at its bound is an answer, not a fault
        process.fit(points[list(observed)], given)
        found = process.predict(points, return_std=True)
    mean, deviation = map(np.asarray, found)
    return Prediction(mean=mean, deviation=deviation)


class CalibratedScorer:
    """Expected accuracy (log-odds) of networks, from short trainings of a few of them.

    Args:
        architectures: All that will be scored; a few that cover them well are trained.
        observe: Trains one network for a short while and gives its search-validation accuracy.
        trainings: How many.
        data: For the zero-cost proxies; None leaves them out.

    Attributes:
        observed: Index and accuracy of each network that was trained.
    """

    def __init__(
        self,
        architectures: Sequence[Architecture],
        observe: Observe,
        *,
        trainings: int,
        data: Dataset | None,
        seed: int = 0,
    ) -> None:
        points = Features(architectures, data, seed=seed).points
        self.observed = [(row, observe(architectures[row])) for row in choose_spread(points, trainings)]
        rows, accuracies = zip(*self.observed, strict=True)
        self.prediction = predict(points, rows, accuracies)
        self._place = {each.digest: row for row, each in enumerate(architectures)}

    def score(self, architecture: Architecture) -> float:
        """The expected log-odds of its accuracy."""
        return float(self.prediction.mean[self._place[architecture.digest]])


def _log_odds(accuracy: float) -> float:
    share = min(max(accuracy, 1e-3), 1 - 1e-3)
    return math.log(share / (1 - share))


def _standard(values: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and deviation 1; those that are the same for all networks become 0."""
    deviation = values.std(0)
    return np.where(deviation > 1e-12, (values - values.mean(0)) / np.where(deviation > 1e-12, deviation, 1.0), 0.0)


def _normal_scores(values: np.ndarray) -> np.ndarray:
    """Ranks as quantiles of a normal distribution; ties share theirs, NaN counts as the lowest."""
    from scipy.stats import norm, rankdata

    return norm.ppf((rankdata(np.nan_to_num(values, nan=-np.inf, posinf=np.inf, neginf=-np.inf)) - 0.5) / len(values))
