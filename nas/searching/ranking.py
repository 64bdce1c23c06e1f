"""Whether scores order networks as the truth does, and better than counting parameters or multiply-adds would.

A score that loses to counting is worth nothing, so the baselines stand beside every figure. All correlations are of
ranks: Spearman's with average ranks for ties, Kendall's tau-b. Where a variable is constant they are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

Values: TypeAlias = "Sequence[float] | np.ndarray"

FEWEST = 8
"""Networks below which nothing is said about a ranking."""
BASELINES = ("params", "macs")


def spearman(a: Values, b: Values) -> float:
    """Spearman's rank correlation; NaN below two pairs or where one side is constant."""
    first, second = _pairs(a, b)
    return _pearson(_ranks(first), _ranks(second))


def pearson(a: Values, b: Values) -> float:
    """Pearson's correlation of the values themselves; NaN below two pairs or where one side is constant."""
    first, second = _pairs(a, b)
    if len(first) < 2 or _constant(first) or _constant(second):
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])


def kendall(a: Values, b: Values) -> float:
    """Kendall's tau-b; NaN below two pairs or where one side is constant."""
    first, second = _pairs(a, b)
    if len(first) < 2 or _constant(first) or _constant(second):
        return math.nan
    from scipy.stats import kendalltau  # takes most of a second to import

    tau: Any = kendalltau(first, second)
    return float(tau.statistic)


def partial_spearman(score: Values, truth: Values, *given: Values) -> float:
    """Spearman's correlation of score and truth once what all of `given` tell about both is taken out.

    That is the correlation of what a linear regression on the ranks of `given` leaves of their ranks. NaN where nothing
    is left of one of them.
    """
    known = np.stack([np.ones(len(score)), *(_ranks(_pairs(each, truth)[0]) for each in given)], axis=1)
    left = []
    for of in _pairs(score, truth):
        ranks = _ranks(of)
        rest = ranks - known @ np.linalg.lstsq(known, ranks, rcond=None)[0]
        if rest @ rest <= 1e-6 * max(1.0, ((ranks - ranks.mean()) ** 2).sum()):
            return math.nan
        left.append(rest)
    return _pearson(*left)


def within_band_spearman(score: Values, truth: Values, macs: Values, *, bands: int = 20) -> float:
    """The mean of Spearman's correlation inside bands of multiply-adds that hold equally many networks each.

    Bands in which it is undefined are left out; NaN if all are.
    """
    order = np.argsort(_pairs(macs, truth)[0], kind="stable")
    return _mean_spearman(score, truth, np.array_split(order, min(bands, max(1, len(order)))))


def within_group_spearman(score: Values, truth: Values, groups: Sequence[str], *, least: int = 4) -> float:
    """The mean of Spearman's correlation inside groups of at least `least` networks; NaN if there is none."""
    names = np.asarray(groups)
    members = [np.flatnonzero(names == name) for name in dict.fromkeys(groups)]
    return _mean_spearman(score, truth, [each for each in members if len(each) >= least])


def _mean_spearman(score: Values, truth: Values, parts: Sequence[np.ndarray]) -> float:
    scores, truths = _pairs(score, truth)
    inside = [spearman(scores[part], truths[part]) for part in parts]
    defined = [each for each in inside if not math.isnan(each)]
    return float(np.mean(defined)) if defined else math.nan


def top_k_regret(score: Values, truth: Values, *, k: int) -> float:
    """By how much the truth of the best network misses that of the best among the `k` with the highest scores.

    Among equal scores the worst networks are taken first, so that a constant score earns nothing.
    """
    scores, truths = _pairs(score, truth)
    assert k >= 1, f"k (={k}) must be at least 1"
    assert len(scores), "a regret needs at least one network"
    chosen = np.lexsort((truths, -scores))[:k]
    return float(truths.max() - truths[chosen].max())


def rank_statistics(
    scores: Values,
    truth: Values,
    *,
    params: Values,
    macs: Values,
    seed: int,
    resamples: int = 2000,
) -> dict[str, Any]:
    """How well scores, and the baselines, order networks by their truth: plain JSON.

    Returns:
        `n`; `verdict`, half a sentence without a full stop; and for each of `score`, `params` and `macs` its
        `spearman` and `kendall` with `low` and `high`, the 95 % percentile interval of Spearman's by bootstrap over
        networks, or None where the correlation is undefined.

    The verdict compares correlations within the same resamples: score and baselines are measured on the same networks,
    so the interval of their *difference* is what tells, and it is narrower than the two intervals side by side suggest.
    """
    predictors = {"score": scores, "params": params, "macs": macs}
    values = {name: _pairs(of, truth)[0] for name, of in predictors.items()}
    truths = _pairs(truth, truth)[0]
    resampled = bootstrap_spearman(values, truths, seed=seed, resamples=resamples)
    figures: dict[str, dict[str, float] | None] = {}
    for name, of in values.items():
        rho = spearman(of, truths)
        low, high = interval(resampled[name])
        known = {"spearman": rho, "kendall": kendall(of, truths), "low": low, "high": high}
        figures[name] = None if any(map(math.isnan, known.values())) else known
    return {"n": len(truths), "verdict": _verdict(len(truths), figures, resampled), **figures}


def _verdict(n: int, figures: Mapping[str, dict[str, float] | None], resampled: Mapping[str, np.ndarray]) -> str:
    if n < FEWEST:
        return "too few to judge"
    score = figures["score"]
    if score is None:
        return "the score or the truth is the same for all networks, which ranks nothing"
    outcomes: dict[str, list[str]] = {"beats": [], "cannot be told from": [], "loses to": []}
    for name in BASELINES:
        baseline = figures[name]
        if baseline is None:
            # A constant baseline orders nothing; what remains is to do better than chance.
            low, high = score["low"], score["high"]
        else:
            low, high = interval(resampled["score"] - resampled[name])
        outcome = "beats" if low > 0 else "loses to" if high < 0 else "cannot be told from"
        shown = "no order" if baseline is None else f"{baseline['spearman']:.2f}"
        outcomes[outcome].append(f"{name} ({shown})")
    told = [f"{outcome} {' and '.join(names)}" for outcome, names in outcomes.items() if names]
    return f"the score (Spearman {score['spearman']:.2f}) {' but '.join(told)}"


def bootstrap_spearman(
    values: Mapping[str, np.ndarray], truths: np.ndarray, *, seed: int, resamples: int
) -> dict[str, np.ndarray]:
    """Spearman's correlation with the truth in resamples of the networks, the same ones for all values.

    A resample is how often it holds each network, so its average ranks are running sums over the values in order:
    no resample is sorted.
    """
    generator, n = np.random.default_rng(seed), len(truths)
    places = {name: np.unique(of, return_inverse=True)[1] for name, of in values.items()}
    truth_places = np.unique(truths, return_inverse=True)[1]
    found = {name: np.full(resamples, math.nan) for name in values}
    for i in range(resamples if n > 1 else 0):
        weights = np.bincount(generator.integers(n, size=n), minlength=n).astype(float)
        truth_ranks = _weighted_ranks(truth_places, weights)
        for name, of in places.items():
            found[name][i] = _pearson(_weighted_ranks(of, weights), truth_ranks, weights)
    return found


def _weighted_ranks(places: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average ranks, up to a constant, of values that occur `weights` times each; `places` are theirs among all."""
    counts = np.bincount(places, weights=weights)
    return (np.cumsum(counts) - counts / 2)[places]


def _ranks(values: np.ndarray) -> np.ndarray:
    return _weighted_ranks(np.unique(values, return_inverse=True)[1], np.ones(len(values)))


def _pearson(a: np.ndarray, b: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Pearson's correlation of average ranks; NaN where one side is constant."""
    weights = np.ones(len(a)) if weights is None else weights
    total = weights.sum()
    if total < 2:
        return math.nan
    a = a - weights @ a / total
    b = b - weights @ b / total
    spread = (weights @ a**2) * (weights @ b**2)
    # Ranks differ by at least one half, so what is left of a constant is rounding.
    return float(np.clip(weights @ (a * b) / math.sqrt(spread), -1, 1)) if spread > 1e-9 else math.nan


def interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of what is defined; NaN twice if nothing is."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def _constant(values: np.ndarray) -> bool:
    return bool(np.all(values == values[0]))


def _pairs(a: Values, b: Values) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    assert first.ndim == 1, f"values must be one-dimensional, but have shape {first.shape}"
    assert first.shape == second.shape, f"lengths must be equal, but got {len(first)} and {len(second)}"
    assert np.isfinite([first, second]).all(), "failed trials must be left out first"
    return first, second
