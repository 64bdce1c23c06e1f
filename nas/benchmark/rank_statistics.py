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
FEWEST_ORDERED = 3
"""Networks below which there is no correlation: two are in order or they are not."""
BASELINES = ("params", "macs")
_AT_ONCE = 100  # resamples, so that those of many networks fit into memory


def spearman(a: Values, b: Values) -> float:
    """Spearman's rank correlation; NaN below two pairs or where one side is constant."""
    first, second = _pairs(a, b)
    once = np.ones((1, len(first)))
    return float(_pearson(_ranks(first, once), _ranks(second, once), once)[0])


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
    once = np.ones((1, len(score)))
    known = np.stack([once[0], *(_ranks(_pairs(each, truth)[0], once)[0] for each in given)], axis=1)
    left: list[np.ndarray] = []
    for of in _pairs(score, truth):
        ranks = _ranks(of, once)[0]
        rest = ranks - known @ np.linalg.lstsq(known, ranks, rcond=None)[0]
        if rest @ rest <= 1e-6 * max(1.0, ((ranks - ranks.mean()) ** 2).sum()):
            return math.nan
        left.append(rest[None])
    return float(_pearson(left[0], left[1], once)[0])


def within_parts_spearman(score: Values, truth: Values, parts: Sequence[np.ndarray]) -> float:
    """The mean of Spearman's correlation inside parts, which are places of networks.

    Parts in which it is undefined are left out; NaN if all are.
    """
    scores, truths = _pairs(score, truth)
    inside = [spearman(scores[part], truths[part]) for part in parts]
    return float(_mean_of_defined(np.array(inside)[:, None])[0]) if inside else math.nan


def bands(values: Values, count: int) -> list[np.ndarray]:
    """Places of the networks inside `count` bands of rising values, which hold equally many each."""
    order = np.argsort(np.asarray(values, dtype=float), kind="stable")
    return np.array_split(order, min(count, max(1, len(order))))


def groups(names: Sequence[str], *, least: int = 4) -> list[np.ndarray]:
    """Places of the networks that go by the same name, of each name with at least `least` of them; "" is no name."""
    all_names = np.asarray(names)
    members = [np.flatnonzero(all_names == name) for name in dict.fromkeys(names) if name]
    return [each for each in members if len(each) >= least]


def top_k_regret(score: Values, truth: Values, *, k: int) -> float:
    """By how much the truth of the best network misses that of the best among the `k` with the highest scores.

    Where more have an equal score than fit among the `k`, it is the mean over all ways to pick from them: a constant
    score gets what `k` networks sampled at random get.
    """
    scores, truths = _pairs(score, truth)
    assert k >= 1, f"k (={k}) must be at least 1"
    assert len(scores), "a regret needs at least one network"
    picked = min(k, len(scores))
    last = np.sort(scores)[-picked]
    sure, level = truths[scores > last], np.sort(truths[scores == last])[::-1]
    sampled = picked - len(sure)
    # The best of those sampled is the i-th best of the level if all before it are left out.
    shares, left = np.zeros(len(level)), 1.0
    for i in range(len(level) - sampled + 1):
        shares[i] = left * sampled / (len(level) - i)
        left -= shares[i]
    found = np.maximum(level, sure.max()) if len(sure) else level
    return max(0.0, float(truths.max() - shares @ found))  # the shares add up to 1 but for rounding


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
        networks (None below eight of them). None instead where the correlation is undefined, or of two networks,
        whose correlation is always 1 or -1.

    The verdict compares correlations within the same resamples: score and baselines are measured on the same networks,
    so the interval of their *difference* is what tells, and it is narrower than the two intervals side by side suggest.
    """
    predictors = {"score": scores, "params": params, "macs": macs}
    values = {name: _pairs(of, truth)[0] for name, of in predictors.items()}
    truths = _pairs(truth, truth)[0]
    resampled = bootstrap_spearman(values, truths, seed=seed, resamples=resamples)
    figures: dict[str, dict[str, Any] | None] = {}
    for name, of in values.items():
        rho = spearman(of, truths)
        low, high = (None if math.isnan(end) else end for end in interval(resampled[name], len(truths)))
        known = {"spearman": rho, "kendall": kendall(of, truths), "low": low, "high": high}
        figures[name] = None if math.isnan(rho) or len(truths) < FEWEST_ORDERED else known
    return {"n": len(truths), "verdict": _verdict(len(truths), figures, resampled), **figures}


def _verdict(n: int, figures: Mapping[str, dict[str, Any] | None], resampled: Mapping[str, np.ndarray]) -> str:
    if n < FEWEST:
        return "too few to judge"
    score = figures["score"]
    if score is None:
        return "the score or the truth is the same for all networks, which ranks nothing"
    outcomes: dict[str, list[str]] = {"beats": [], "is not separable from": [], "loses to": []}
    for name in BASELINES:
        baseline = figures[name]
        if baseline is None:
            # A constant baseline orders nothing; what remains is to do better than chance.
            low, high = score["low"], score["high"]
        else:
            low, high = interval(resampled["score"] - resampled[name], n)
        outcome = "beats" if low > 0 else "loses to" if high < 0 else "is not separable from"
        shown = "no order" if baseline is None else f"{baseline['spearman']:.2f}"
        outcomes[outcome].append(f"{name} ({shown})")
    found = [f"{outcome} {' and '.join(names)}" for outcome, names in outcomes.items() if names]
    return f"the score (Spearman {score['spearman']:.2f}) {' but '.join(found)}"


def bootstrap_spearman(
    values: Mapping[str, np.ndarray],
    truths: np.ndarray,
    *,
    seed: int,
    resamples: int,
    parts: Sequence[np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Spearman's correlation with the truth in resamples of the networks, the same ones for all values.

    A resample is how often it holds each network, so its average ranks are running sums over the values in order:
    no resample is sorted.

    Args:
        parts: Places of networks; the correlation is then the mean of those inside the parts.
    """
    generator, n = np.random.default_rng(seed), len(truths)
    within = [np.arange(n)] if parts is None else parts
    found = {name: np.full(resamples, math.nan) for name in values}
    for start in range(0, resamples if n > 1 else 0, _AT_ONCE):
        count = min(_AT_ONCE, resamples - start)
        weights = np.array([np.bincount(generator.integers(n, size=n), minlength=n) for _ in range(count)], dtype=float)
        inside: dict[str, list[np.ndarray]] = {name: [] for name in values}
        for part in within:
            truth_ranks = _ranks(truths[part], weights[:, part])
            for name, of in values.items():
                ranks = _ranks(of[part], weights[:, part])
                inside[name].append(_pearson(ranks, truth_ranks, weights[:, part]))
        for name, each in inside.items():
            found[name][start : start + count] = _mean_of_defined(np.array(each))
    return found


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average ranks (R, N), up to a constant, of values (N,) that occur `weights` (R, N) times each."""
    if not len(values):
        return weights
    _, places, often = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(places, kind="stable")
    counts = np.add.reduceat(weights[:, order], np.cumsum(often) - often, axis=1)
    return (np.cumsum(counts, axis=1) - counts / 2)[:, places]


def _pearson(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson's correlations (R,) of average ranks (R, N); NaN where one side is constant."""
    total = weights.sum(1, keepdims=True)
    some = np.maximum(total, 1)
    a = a - (weights * a).sum(1, keepdims=True) / some
    b = b - (weights * b).sum(1, keepdims=True) / some
    spread = (weights * a**2).sum(1) * (weights * b**2).sum(1)
    # Ranks differ by at least one half, so what is left of a constant is rounding.
    ordered = (total[:, 0] >= 2) & (spread > 1e-9)
    found = (weights * a * b).sum(1) / np.sqrt(np.where(ordered, spread, 1.0))
    return np.where(ordered, np.clip(found, -1, 1), math.nan)


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Means (R,) over the first of (P, R); NaN where nothing is defined."""
    defined = ~np.isnan(values)
    count = defined.sum(0)
    return np.where(count > 0, np.where(defined, values, 0.0).sum(0) / np.maximum(count, 1), math.nan)


def interval(values: np.ndarray, n: int) -> tuple[float, float]:
    """The middle 95 % of what is defined among resamples of `n` networks.

    NaN twice if nothing is, or below eight networks: so few resample into hardly anything but themselves, and two that
    are in order would say "+1 to +1".
    """
    defined = values[~np.isnan(values)]
    if n < FEWEST or not len(defined):
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
