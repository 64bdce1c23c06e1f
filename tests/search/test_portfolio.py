"""What is a finalist whatever its score: the largest that fit by either count, and one at random."""

from __future__ import annotations

import random

import pytest

import nas
from nas.methods.counted import COUNTS
from nas.pipeline.portfolio import Pick, choose_finalists, portfolio
from nas.sampling import BudgetSampler

from ..small_space import listed, small_space
from .trial_cases import trial

SPACE = small_space()
SAMPLER = BudgetSampler(SPACE, [nas.Budget.parse("40kFLOPs")], min_share=0.5)
ALL = [SPACE.decode(point) for point in listed(SPACE)]
FEASIBLE = [each for each in ALL if SAMPLER.contains(nas.cost(each))]
rng = random.Random(5)
SIX = rng.sample(FEASIBLE, 6)


# The front is 0, 2 and 4; 1 and 3 are beaten, 5 failed.
SCORES = [0.5, 0.45, 0.6, 0.58, 0.7, None]
TRIALS = [
    trial(number, score, macs, architecture)
    for number, (score, macs, architecture) in enumerate(zip(SCORES, [10, 20, 30, 40, 50, 5], SIX, strict=True))
]


def numbers(picks: list[Pick]) -> list[int]:
    return [pick.trial.number for pick in picks]


def by(picks: list[Pick]) -> dict[int, str]:
    return {pick.trial.number: pick.chosen_by for pick in picks}


@pytest.mark.parametrize("count", ["params", "log_channels"])
def test_the_largest_by_a_count_is_the_largest_feasible_network_of_the_space(count: str) -> None:
    found = portfolio(SAMPLER, 9, count=None, seed=0)
    assert COUNTS[count](found[count]) == max(map(COUNTS[count], FEASIBLE))


@pytest.mark.parametrize(("finalists", "names"), [(1, []), (2, ["params"]), (9, ["params", "log_channels", "random"])])
def test_it_leaves_the_first_place_to_the_score(finalists: int, names: list[str]) -> None:
    found = portfolio(SAMPLER, finalists, count=None, seed=0)
    assert list(found) == names
    assert all(SAMPLER.contains(nas.cost(each)) for each in found.values())
    assert len(set(found.values())) == len(found)


def test_the_largest_by_the_count_that_is_the_score_is_the_scores_own_and_takes_no_place_of_others() -> None:
    found = portfolio(SAMPLER, 2, count="params", seed=0)
    assert list(found) == ["score", "log_channels"]
    assert COUNTS["params"](found["score"]) == max(map(COUNTS["params"], FEASIBLE))
    assert list(portfolio(SAMPLER, 1, count="params", seed=0)) == ["score"]


def test_the_seed_decides_the_random_one_alone() -> None:
    first, again, other = (portfolio(SAMPLER, 4, count=None, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first["random"] != other["random"]
    assert first["params"] == other["params"]


def test_the_best_score_is_followed_by_the_portfolio_and_then_by_more_scores() -> None:
    fixed = {"params": SIX[1], "random": SIX[0]}
    assert by(choose_finalists(TRIALS, 1, fixed=fixed)) == {4: "score"}
    assert by(choose_finalists(TRIALS, 2, fixed=fixed)) == {4: "score", 1: "params"}
    assert by(choose_finalists(TRIALS, 4, fixed=fixed)) == {4: "score", 1: "params", 0: "random", 2: "score"}
    assert numbers(choose_finalists(TRIALS, 4, fixed=fixed)) == [4, 2, 0, 1]


def test_a_network_of_the_portfolio_takes_part_without_a_score_and_one_that_leads_by_score_has_one_place() -> None:
    assert by(choose_finalists(TRIALS, 2, fixed={"params": SIX[5]})) == {4: "score", 5: "params"}
    assert by(choose_finalists(TRIALS, 2, fixed={"params": SIX[4]})) == {4: "score+params", 2: "score"}
    assert by(choose_finalists(TRIALS, 2, fixed={"score": SIX[4]})) == {4: "score", 2: "score"}


@pytest.mark.parametrize(
    ("count", "spans_costs", "expected"),
    [
        (1, True, [4]),
        (3, True, [4, 2, 0]),
        (4, True, [4, 2, 3, 0]),
        (9, True, [4, 2, 3, 0, 1]),
        (3, False, [4, 2, 3]),
        (9, False, [4, 2, 3, 0, 1]),
    ],
)
def test_more_are_chosen_by_score_and_the_front_goes_first_where_costs_differ(
    count: int, spans_costs: bool, expected: list[int]
) -> None:
    assert numbers(choose_finalists(TRIALS, count, front_over=("macs",) if spans_costs else ())) == expected
    assert numbers(choose_finalists(TRIALS[::-1], count, front_over=("macs",) if spans_costs else ())) == expected


def test_of_equal_scores_the_earlier_trial_is_chosen() -> None:
    equal = [trial(i, 0.5, 10, SIX[i]) for i in range(4)]
    assert numbers(choose_finalists(equal[::-1], 2)) == [0, 1]


def test_nobody_is_chosen_of_failed_trials() -> None:
    assert choose_finalists([trial(0, None, 1, SIX[0])], 3) == []
