"""Who is trained, and who wins, on trials made by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

import nas
from nas.architecture import Architecture
from nas.budget import Cost
from nas.pipeline.finalists import Finalist, choose_finalists, ranking, winners
from nas.trial import Trial

ANY = nas.load_architecture("coatnet_0")


def trial(number: int, score: float | None, macs: int, architecture: Architecture = ANY) -> Trial:
    return Trial(
        number=number,
        architecture=architecture,
        cost=Cost(macs=macs, params=10 * macs),
        status="failed" if score is None else "complete",
        score=score,
        seed=0,
        seconds=0.0,
        error="no" if score is None else None,
    )


def finalist(number: int, accuracy: float, macs: int, test: float = 0.5, score: float = 0.5) -> Finalist:
    network: Any = None
    return Finalist(trial=trial(number, score, macs), validation_accuracy=accuracy, test_accuracy=test, network=network)


# The front is 0, 2 and 4; 1 and 3 are beaten, 5 failed.
TRIALS = [
    trial(0, 0.5, 10),
    trial(1, 0.45, 20),
    trial(2, 0.6, 30),
    trial(3, 0.58, 40),
    trial(4, 0.7, 50),
    trial(5, None, 5),
]


@pytest.mark.parametrize(
    ("count", "numbers"),
    [
        (1, [4]),
        (2, [4, 2]),
        (3, [4, 2, 0]),
        (4, [4, 2, 3, 0]),
        (5, [4, 2, 3, 0, 1]),
        (9, [4, 2, 3, 0, 1]),
    ],
)
def test_the_front_goes_first_then_the_best_scores(count: int, numbers: list[int]) -> None:
    assert [each.number for each in choose_finalists(TRIALS, count)] == numbers


def test_the_choice_does_not_depend_on_the_order_of_trials() -> None:
    assert choose_finalists(TRIALS[::-1], 4) == choose_finalists(TRIALS, 4)


def test_of_equal_scores_the_earlier_trial_is_chosen() -> None:
    equal = [trial(i, 0.5, 10) for i in range(4)]
    assert [each.number for each in choose_finalists(equal[::-1], 2)] == [0, 1]


def test_nobody_is_chosen_of_failed_trials() -> None:
    assert choose_finalists([trial(0, None, 1)], 3) == []


def test_winners_are_those_that_no_other_beats_in_accuracy_and_cost() -> None:
    ranked = [finalist(0, 0.9, 50), finalist(1, 0.85, 60), finalist(2, 0.8, 30), finalist(3, 0.7, 30)]
    assert [each.trial.number for each in winners(ranked)] == [0, 2]


def test_a_cheapest_best_network_wins_alone() -> None:
    ranked = [finalist(0, 0.9, 10), finalist(1, 0.9, 20), finalist(2, 0.8, 30)]
    assert [each.trial.number for each in winners(ranked)] == [0]


def test_the_ranking_holds_scores_and_baselines_against_test_accuracies() -> None:
    finalists = [finalist(i, 0.0, macs=100 - i, test=0.1 * i, score=0.2 + 0.05 * i) for i in range(9)]
    found = ranking(finalists, seed=0)
    assert found["n"] == 9
    assert math.isclose(found["score"]["spearman"], 1)
    assert math.isclose(found["macs"]["spearman"], -1)
    assert found["verdict"].startswith("the score")


def test_few_finalists_are_too_few_to_judge() -> None:
    few = [finalist(i, 0.0, macs=100 + i, test=0.1 * i) for i in range(7)]
    assert ranking(few, seed=0)["verdict"] == "too few to judge"
