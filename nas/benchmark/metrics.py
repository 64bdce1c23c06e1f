"""What predictors of accuracy are worth: correlations, partial and within bands, regret, intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nas.benchmark.rank_statistics import (
    Values,
    bands,
    bootstrap_spearman,
    groups,
    interval,
    kendall,
    partial_spearman,
    pearson,
    spearman,
    top_k_regret,
    within_parts_spearman,
)

BANDS = 20
TOP = (1, 5, 10, 50)


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyFigures:
    """One predictor inside one family."""

    n: int
    spearman: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One predictor against the truth; None where a figure is undefined or cannot be known.

    Attributes:
        low, high: The 95 % percentile interval of `spearman`, by bootstrap over networks; None below eight, whose
            resamples say nothing. `within_band_low` and so on are those of the means inside bands and kinds, in the
            same resamples.
        partial_spearman_given_macs, partial_spearman_given_params, partial_spearman_given_both: With what these tell
            about both score and truth taken out.
        within_band_spearman: Mean inside bands of multiply-adds that hold equally many networks.
        within_kind_spearman: Mean inside groups of networks whose stages attend and convolve alike, of four or more
            networks: what is left once it is known that one op is better than the other.
        within_family_spearman: The same inside the families that a table names.
        families: Family of four or more networks -> how many have a score, and Spearman's correlation among these.
        top_k_regret: k -> what the best of the k networks with the highest scores lacks to the best of all, those
            without a score included.
        n: Networks with both a score and a truth.
        failed: Networks without a score.
        known: True accuracies that it was given, each of which stands for a full training; it is judged on the others.
        known_trainings: What those trainings cost, in trainings of the average network.
        seconds: That scoring took.
    """

    spearman: float | None
    low: float | None
    high: float | None
    kendall: float | None
    pearson: float | None
    partial_spearman_given_macs: float | None
    partial_spearman_given_params: float | None
    partial_spearman_given_both: float | None
    within_band_spearman: float | None
    within_band_low: float | None
    within_band_high: float | None
    within_kind_spearman: float | None
    within_kind_low: float | None
    within_kind_high: float | None
    within_family_spearman: float | None
    within_family_low: float | None
    within_family_high: float | None
    families: Mapping[str, FamilyFigures] = field(default_factory=dict)
    top_k_regret: Mapping[str, float] = field(default_factory=dict)
    n: int = 0
    failed: int = 0
    known: int = 0
    known_trainings: float = 0.0
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge(
    scores: Values,
    truth: Values,
    *,
    macs: Values | None = None,
    params: Values | None = None,
    kinds: Sequence[str] | None = None,
    families: Sequence[str] | None = None,
    known: int = 0,
    known_trainings: float = 0.0,
    seconds: float | None = None,
    seed: int = 0,
    resamples: int = 1000,
    band_count: int = BANDS,
) -> Judgement:
    """Judges one predictor; a score that is not finite counts as failed and is left out.

    Args:
        scores: Higher should be better.
        truth: Known accuracies, all finite.
        macs, params, kinds, families: Of the same networks, where they are known.
    """
    given, true = np.asarray(scores, dtype=float), np.asarray(truth, dtype=float)
    kept = np.isfinite(given)
    values, truths = given[kept], true[kept]
    costs = {
        name: None if of is None else np.asarray(of, dtype=float)[kept]
        for name, of in (("macs", macs), ("params", params))
    }
    known_of: dict[str, Any] = {
        "n": len(values),
        "failed": int((~kept).sum()),
        "known": known,
        "known_trainings": known_trainings,
        "seconds": seconds,
    }
    if len(values) < 2:
        return Judgement(**dict.fromkeys(_FIGURES), **known_of)
    parts = {
        name: None if of is None else [each for each, has in zip(of, kept, strict=True) if has]
        for name, of in (("kind", kinds), ("family", families))
    }
    figures = _figures(values, truths, costs, parts, seed=seed, resamples=resamples, band_count=band_count)
    missed = float(true.max() - truths.max())  # where the best has no score
    return Judgement(
        **{name: None if math.isnan(value) else value for name, value in figures.items()},
        families=_by_family(values, truths, parts["family"] or ()),
        top_k_regret={str(k): missed + top_k_regret(values, truths, k=k) for k in TOP if k <= len(values)},
        **known_of,
    )


def _figures(
    values: np.ndarray,
    truths: np.ndarray,
    costs: Mapping[str, np.ndarray | None],
    parts_of: Mapping[str, Sequence[str] | None],
    *,
    seed: int,
    resamples: int,
    band_count: int,
) -> dict[str, float]:
    """Every correlation with its interval, NaN where it is undefined."""

    def resampled(parts: list[np.ndarray] | None = None) -> tuple[float, float]:
        found = bootstrap_spearman({"score": values}, truths, seed=seed, resamples=resamples, parts=parts)
        return interval(found["score"], len(values))

    def within(name: str, parts: list[np.ndarray]) -> dict[str, float]:
        low, high = resampled(parts) if parts else (math.nan, math.nan)
        inside = within_parts_spearman(values, truths, parts)
        return {f"within_{name}_spearman": inside, f"within_{name}_low": low, f"within_{name}_high": high}

    def partial(*given: np.ndarray | None) -> float:
        found = [each for each in given if each is not None]
        return partial_spearman(values, truths, *found) if len(found) == len(given) else math.nan

    low, high = resampled()
    by_macs, by_params = costs["macs"], costs["params"]
    parts = min(band_count, len(values) // 4)  # bands of fewer than four networks say nothing
    return {
        "spearman": spearman(values, truths),
        "low": low,
        "high": high,
        "kendall": kendall(values, truths),
        "pearson": pearson(values, truths),
        "partial_spearman_given_macs": partial(by_macs),
        "partial_spearman_given_params": partial(by_params),
        "partial_spearman_given_both": partial(by_macs, by_params),
        **within("band", bands(by_macs, parts) if by_macs is not None and parts else []),
        **{key: value for name, of in parts_of.items() for key, value in within(name, groups(of or ())).items()},
    }


def _by_family(values: np.ndarray, truths: np.ndarray, families: Sequence[str]) -> dict[str, FamilyFigures]:
    found: dict[str, FamilyFigures] = {}
    for places in groups(families):
        inside = spearman(values[places], truths[places])
        found[families[int(places[0])]] = FamilyFigures(n=len(places), spearman=None if math.isnan(inside) else inside)
    return found


_FIGURES = (
    "spearman", "low", "high", "kendall", "pearson", "partial_spearman_given_macs", "partial_spearman_given_params",
    "partial_spearman_given_both", "within_band_spearman", "within_band_low", "within_band_high",
    "within_kind_spearman", "within_kind_low", "within_kind_high",
    "within_family_spearman", "within_family_low", "within_family_high",
)  # fmt: skip
