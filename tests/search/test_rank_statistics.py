import csv
import json
import math
import random
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from nas.benchmark.rank_statistics import (
    bands,
    bootstrap_spearman,
    groups,
    kendall,
    partial_spearman,
    rank_statistics,
    spearman,
    top_k_regret,
    within_parts_spearman,
)

TRUTH = Path(__file__).parents[3] / "shared" / "truth"
needs_truth = pytest.mark.skipif(not TRUTH.is_dir(), reason="no tables of known accuracies beside the checkout")

values = st.lists(st.integers(-4, 4), min_size=3, max_size=30)
columns = values.flatmap(
    lambda a: st.tuples(st.just(a), st.lists(st.integers(-4, 4), min_size=len(a), max_size=len(a)))
)


def table(name: str) -> dict[str, list[str]]:
    with (TRUTH / name).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {key: [row[key] for row in rows] for key in rows[0]}


def numbers(texts: list[str]) -> np.ndarray:
    return np.array(texts, dtype=float)


def by_scipy(correlation: Any, a: Any, b: Any) -> float:
    return correlation(a, b).statistic


# -- by hand ----------------------------------------------------------------------------------------------------


def test_correlations_worked_out_by_hand() -> None:
    # Squared rank differences 1, 1, 1, 1, 0: 1 - 6 * 4 / (5 * 24). Two of ten pairs are out of order.
    assert spearman([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]) == pytest.approx(0.8)
    assert kendall([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]) == pytest.approx(0.6)


def test_ties_worked_out_by_hand() -> None:
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4; of six pairs five agree and one is tied on one side.
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert kendall([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(5 / math.sqrt(5 * 6))


def test_partial_correlation_worked_out_by_hand() -> None:
    score, truth, macs = [1, 2, 3, 4, 5], [2, 1, 4, 3, 5], [1, 2, 3, 5, 4]
    assert spearman(score, macs) == pytest.approx(0.9)
    assert spearman(truth, macs) == pytest.approx(0.6)
    expected = (0.8 - 0.9 * 0.6) / math.sqrt((1 - 0.9**2) * (1 - 0.6**2))
    assert partial_spearman(score, truth, macs) == pytest.approx(expected)


def test_two_are_taken_out_as_one_after_the_other() -> None:
    rng = random.Random(3)
    score, truth, macs, params = ([rng.random() for _ in range(50)] for _ in range(4))
    both, sides = partial_spearman(score, truth, macs, params), (score, truth)
    first, second = (partial_spearman(each, params, macs) for each in sides)
    alone = partial_spearman(score, truth, macs)
    # The recursion of partial correlations (Kendall 1942, Biometrika 32).
    assert both == pytest.approx((alone - first * second) / math.sqrt((1 - first**2) * (1 - second**2)))
    assert abs(both - alone) > 1e-3


def test_a_score_that_only_counts_has_no_partial_correlation() -> None:
    assert math.isnan(partial_spearman([1, 2, 3, 4], [1, 3, 2, 4], [10, 20, 30, 40]))


def test_bands_hide_what_size_alone_explains() -> None:
    macs = [1, 2, 3, 4, 11, 12, 13, 14]
    truth = [1, 2, 3, 4, 5, 6, 7, 8]
    score = [4, 3, 2, 1, 8, 7, 6, 5]  # right between the bands, wrong inside each
    assert spearman(score, truth) == pytest.approx(1 - 6 * 40 / (8 * 63))
    assert within_parts_spearman(score, truth, bands(macs, 2)) == pytest.approx(-1)


def test_bands_without_an_order_are_left_out() -> None:
    assert within_parts_spearman([1, 1, 3, 4], [1, 2, 3, 4], bands([1, 2, 3, 4], 2)) == pytest.approx(1)
    assert math.isnan(within_parts_spearman([1, 2, 3], [1, 2, 3], bands([1, 2, 3], 20)))
    assert math.isnan(within_parts_spearman([1, 2, 3], [1, 2, 3], []))


def test_regret_is_what_the_best_of_the_top_k_misses() -> None:
    scores, truth = [3, 1, 2], [0.5, 0.9, 0.7]
    assert [top_k_regret(scores, truth, k=k) for k in (1, 2, 3, 9)] == pytest.approx([0.4, 0.2, 0, 0])


def test_equal_scores_get_the_mean_over_all_ways_to_pick() -> None:
    assert top_k_regret([1, 1, 1], [0.9, 0.5, 0.7], k=1) == pytest.approx(0.2)
    assert min(top_k_regret([1] * n, [91.3] * n, k=k) for n in range(2, 40) for k in range(1, n)) == 0
    rng = random.Random(0)
    for _ in range(50):
        count = rng.randint(2, 7)
        scores = [rng.randint(0, 2) for _ in range(count)]
        truth, k = [rng.random() for _ in range(count)], rng.randint(1, count)
        # Every order of the rows, stably sorted by score, is one way to break the ties.
        ways = [
            max(truth[i] for i in sorted(order, key=lambda i: -scores[i])[:k]) for order in permutations(range(count))
        ]
        assert top_k_regret(scores, truth, k=k) == pytest.approx(max(truth) - sum(ways) / len(ways))


@pytest.mark.parametrize("correlation", [spearman, kendall])
def test_without_an_order_there_is_no_correlation(correlation: type) -> None:
    assert math.isnan(correlation([1, 1, 1], [1, 2, 3]))
    assert math.isnan(correlation([1, 2, 3], [5, 5, 5]))
    assert math.isnan(correlation([1], [1]))
    assert math.isnan(correlation([], []))


# -- for all values ---------------------------------------------------------------------------------------------


@given(columns)
def test_correlations_agree_with_scipy(pair: tuple[list[int], list[int]]) -> None:
    a, b = pair
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert math.isnan(spearman(a, b))
    else:
        assert spearman(a, b) == pytest.approx(by_scipy(spearmanr, a, b), abs=1e-12)
        assert kendall(a, b) == pytest.approx(by_scipy(kendalltau, a, b), abs=1e-12)


@given(columns)
def test_only_order_matters(pair: tuple[list[int], list[int]]) -> None:
    a, b = pair
    bent = [math.exp(value) for value in a]
    assert spearman(bent, b) == pytest.approx(spearman(a, b), nan_ok=True)
    assert spearman(b, a) == pytest.approx(spearman(a, b), nan_ok=True)
    assert spearman([-value for value in a], b) == pytest.approx(-spearman(a, b), nan_ok=True)


# -- the report -------------------------------------------------------------------------------------------------


def made_up(n: int, *, noise: dict[str, float]) -> dict[str, np.ndarray]:
    """A truth, and columns that are the truth with so much noise."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=n)
    return {"truth": truth, **{name: truth + rng.normal(size=n) * much for name, much in noise.items()}}


def report(n: int, *, resamples: int = 300, **noise: float) -> dict:
    data = made_up(n, noise=noise)
    return rank_statistics(
        data["score"], data["truth"], params=data["params"], macs=data["macs"], seed=0, resamples=resamples
    )


def test_a_better_score_is_said_to_beat_both_baselines() -> None:
    verdict = report(60, score=0.2, params=2, macs=2)["verdict"]
    assert verdict.startswith("the score (Spearman 0.9")
    assert " beats params (" in verdict
    assert " and macs (" in verdict
    assert "but" not in verdict


def test_a_score_that_loses_to_counting_is_said_to_lose() -> None:
    assert " loses to macs (" in report(60, score=3, params=3, macs=0.2)["verdict"]


def test_a_score_no_better_than_counting_cannot_be_told_from_it() -> None:
    assert " is not separable from params (" in report(30, score=1, params=1, macs=1)["verdict"]


def test_the_verdict_tells_the_baselines_apart() -> None:
    verdict = report(80, score=1, params=9, macs=0.1)["verdict"]
    assert verdict.index("beats params") < verdict.index("but loses to macs")


def test_few_networks_are_not_judged() -> None:
    assert report(7, score=0.1, params=5, macs=5)["verdict"] == "too few to judge"
    assert report(8, score=0.1, params=5, macs=5)["verdict"] != "too few to judge"


def test_two_networks_have_no_correlation() -> None:
    two, three = (report(n, score=0.1, params=5, macs=5) for n in (2, 3))
    assert (two["n"], two["score"], two["params"], two["macs"]) == (2, None, None, None)
    assert three["score"] is not None


def test_few_networks_have_no_interval() -> None:
    few, enough = (report(n, score=0.1, params=5, macs=5)["score"] for n in (7, 8))
    assert few["spearman"] > 0.5
    assert few["low"] is few["high"] is None
    assert enough["low"] <= enough["spearman"] <= enough["high"]


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_hardly_any_networks_still_give_a_report(n: int) -> None:
    found = report(n, score=1, params=1, macs=1)
    assert found["n"] == n
    json.dumps(found, allow_nan=False)


def test_a_constant_score_ranks_nothing() -> None:
    found = rank_statistics([0.1] * 9, range(9), params=range(9), macs=range(9), seed=0, resamples=50)
    assert found["score"] is None
    assert found["verdict"] == "the score or the truth is the same for all networks, which ranks nothing"


def test_a_constant_baseline_leaves_chance_to_beat() -> None:
    found = rank_statistics(range(12), range(12), params=range(12), macs=[7] * 12, seed=0, resamples=200)
    assert found["macs"] is None
    assert found["verdict"] == (
        "the score (Spearman 1.00) beats macs (no order) but is not separable from params (1.00)"
    )
    json.dumps(found, allow_nan=False)


def test_intervals_are_the_percentiles_of_resampled_correlations() -> None:
    data = made_up(20, noise={"score": 1, "params": 1, "macs": 1})
    score, truth = np.round(data["score"]), np.round(data["truth"])
    found = rank_statistics(score, truth, params=data["params"], macs=data["macs"], seed=11, resamples=100)
    generator = np.random.default_rng(11)
    rows = [generator.integers(20, size=20) for _ in range(100)]
    low, high = np.percentile([by_scipy(spearmanr, score[row], truth[row]) for row in rows], [2.5, 97.5])
    assert found["score"] == pytest.approx(
        {"spearman": spearman(score, truth), "kendall": kendall(score, truth), "low": low, "high": high}
    )


def test_intervals_inside_parts_are_those_of_resampled_means() -> None:
    data = made_up(24, noise={"score": 1})
    score, truth = np.round(data["score"]), np.round(data["truth"])
    parts = [np.arange(0, 24, 2), np.arange(1, 24, 4)]
    found = bootstrap_spearman({"score": score}, truth, seed=5, resamples=120, parts=parts)["score"]
    generator = np.random.default_rng(5)
    for each in found:
        row = generator.integers(24, size=24)
        inside = [row[np.isin(row, part)] for part in parts]
        means = [spearman(score[kept], truth[kept]) for kept in inside]
        assert each == pytest.approx(np.mean([mean for mean in means if not math.isnan(mean)]))


def test_networks_of_one_name_are_a_group_where_they_are_enough() -> None:
    found = groups(["a", "b", "a", "b", "a", "c", "a"], least=2)
    assert [part.tolist() for part in found] == [[0, 2, 4, 6], [1, 3]]
    assert groups(["a", "b"]) == []


def test_the_same_seed_gives_the_same_report() -> None:
    first, again = (report(12, score=1, params=1, macs=1) for _ in range(2))
    assert first == again


# -- known tables -----------------------------------------------------------------------------------------------


@needs_truth
def test_two_published_supernets_rank_as_published() -> None:
    found = table("nb201_supernet_scores.csv")
    truth = numbers(found["cifar10_gt"])
    assert kendall(numbers(found["oneshot_supernet_acc"]), truth) == pytest.approx(0.485, abs=5e-4)
    assert kendall(numbers(found["fewshot_supernet_acc"]), truth) == pytest.approx(0.551, abs=5e-4)


@needs_truth
def test_the_baselines_of_the_size_space_are_as_published() -> None:
    found = table("nats_size_cifar10.csv")  # half of the table that the published figures are of
    truth, params, macs = (numbers(found[name]) for name in ("cifar10_test", "params_c10", "mmacs_32"))
    channels = np.array([sum(map(int, arch.split(":"))) for arch in found["arch"]])
    assert spearman(channels, truth) == pytest.approx(0.925, abs=5e-3)
    assert spearman(params, truth) == pytest.approx(0.872, abs=5e-3)
    assert spearman(macs, truth) == pytest.approx(0.609, abs=5e-3)
    assert within_parts_spearman(params, truth, bands(macs, 20)) == pytest.approx(0.792, abs=5e-3)
    verdict = rank_statistics(channels, truth, params=params, macs=macs, seed=0, resamples=50)["verdict"]
    assert verdict == "the score (Spearman 0.93) beats params (0.87) and macs (0.61)"
