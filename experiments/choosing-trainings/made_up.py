"""Made-up accuracies of members of shipped spaces, of known kinds: what pays is written down, and no table is read."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

import nas
from nas.architecture import Architecture
from nas.budget import Budget
from nas.methods.calibrated.features import FeatureScaler
from nas.methods.calibrated.kernels import prior
from nas.methods.counted import COUNTS
from nas.methods.features import output_widths
from nas.sampling import BudgetSampler

BASELINES = ("params", "macs", "log_channels", "convolutions")
"""What a score must not be below."""
SPACES: dict[str, tuple[str, str | None, int]] = {
    "nats-size": ("nats-size", None, 200),
    "coatnet-small": ("coatnet-small", None, 150),
    "coatnet-small, 5 MMACs": ("coatnet-small", "5.25MFLOPs", 100),
    "autoformer": ("autoformer", None, 100),
    "hytra": ("hytra", None, 120),
}
"""Space, budget of which at least 0.9 is spent, and members, by what they go by."""
KINDS = (
    "width pays",
    "depth pays",
    "both pay",
    "neither pays",
    "width pays to a point",
    "depth pays to a point",
    "small pays",
    "convolution pays",
    "the narrowest layer decides",
    "the process's own",
)
LEVEL, SPREADS = 1.0, (0.15, 0.5)
"""Of log-odds of being right: their mean, and standard deviations, as on NATS-Bench's and as after short trainings."""
OWN, SEEDS = 0.15, 0.03
"""Of their variance: what no feature of a network says, and what two trainings of one network differ by."""


def members(name: str) -> list[Architecture]:
    """Members of one of `SPACES`, always the same."""
    space_name, budget, count = SPACES[name]
    space, rng = nas.load_space(space_name), random.Random(0)
    if budget is None:
        draw = lambda: space.sample(rng)  # noqa: E731
    else:
        sampler = BudgetSampler(space, (Budget.parse(budget),), min_share=0.9)
        draw = lambda: sampler.sample(rng).architecture  # noqa: E731
    found: dict[str, Architecture] = {}
    for _ in range(20 * count):
        if len(found) == count:
            break
        each = draw()
        found[each.digest] = each
    return list(found.values())


def standard(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Values (N,) less their mean, over their standard deviation; zeros where all are the same."""
    given = np.asarray(values, dtype=float)
    return (given - given.mean()) / (given.std() or 1.0)


def pays(networks: Sequence[Architecture], scaler: FeatureScaler, kind: str, rng: np.random.Generator) -> np.ndarray:
    """What pays (N,), standardized, of one of `KINDS`."""
    widths = [np.log(output_widths(each)) for each in networks]
    wide, narrowest = standard([row.mean() for row in widths]), standard([row.min() for row in widths])
    deep, convolving = (standard([COUNTS[by](each) for each in networks]) for by in ("depth", "convolutions"))
    process = np.linalg.cholesky(_covariance(scaler)) @ rng.normal(size=len(networks))
    point = float(rng.uniform(0.2, 0.7))
    if kind == "width pays to a point":
        most = np.quantile(np.concatenate(widths), point)
        return standard([np.minimum(row, most).mean() for row in widths])
    if kind == "neither pays":
        counted = np.column_stack([np.ones(len(networks)), *(_counted(networks, by) for by in COUNTS)])
        return standard(process - counted @ np.linalg.lstsq(counted, process, rcond=None)[0])
    found = {
        "width pays": wide,
        "depth pays": deep,
        "both pay": wide + deep,
        "depth pays to a point": np.minimum(deep, np.quantile(deep, point)),
        "small pays": -(wide + deep),
        "convolution pays": 2 * convolving + wide,
        "the narrowest layer decides": narrowest,
        "the process's own": process,
    }
    return standard(found[kind])


def logits(of: np.ndarray, scaler: FeatureScaler, spread: float, rng: np.random.Generator) -> np.ndarray:
    """True log-odds (N,): what pays, and what is a network's own, half of it alike where networks are."""
    smooth = standard(np.linalg.cholesky(_covariance(scaler)) @ rng.normal(size=len(of)))
    own = np.sqrt(OWN / 2) * (smooth + rng.normal(size=len(of)))
    return LEVEL + spread * standard(of * np.sqrt(1 - OWN) + own)


def observed(truth: np.ndarray, spread: float, images: int, rng: np.random.Generator) -> np.ndarray:
    """Accuracies (N,) of one training each, measured on so many images."""
    trained = 1 / (1 + np.exp(-(truth + spread * np.sqrt(SEEDS) * rng.normal(size=len(truth)))))
    return rng.binomial(images, trained) / images


def _counted(networks: Sequence[Architecture], by: str) -> np.ndarray:
    return standard(np.log([1 + COUNTS[by](each) for each in networks]))


def _covariance(scaler: FeatureScaler) -> np.ndarray:
    kernel = prior(scaler.widths)(scaler.reference)  # type: ignore[operator]
    return np.asarray(kernel) + 1e-8 * np.eye(len(kernel))
