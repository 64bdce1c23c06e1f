"""The calibrated score: what is trained, what is made of it, and that it follows the trainings, not its makers."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

import nas
from nas.architecture import Architecture
from nas.scoring.calibrated import CalibratedScorer, Features, choose_spread, predict
from nas.scoring.features import cost_features, stage_features, table_of

from ..small_space import small_space

SPACE = small_space()


def members(count: int) -> list[Architecture]:
    rng = random.Random(0)
    return list(dict.fromkeys(SPACE.sample(rng) for _ in range(20 * count)))[:count]


def test_costs_as_features() -> None:
    architecture = members(1)[0]
    cost = nas.cost(architecture)
    found = cost_features(architecture)
    assert found[:2] == pytest.approx([math.log(cost.params), math.log(cost.macs)])
    assert found[2] == sum(len(layer.branches) for stage in architecture.stages for layer in stage.layers)


def test_stages_as_features_tell_attention_and_kernels_apart() -> None:
    letters = {}
    for each in members(30):
        found = stage_features(each)
        assert len(found) == 1 + 6 * len(each.stages)
        assert sum(found[5::6]) <= 1
        for stage, share in zip(each.stages, found[3::6], strict=True):
            attends = "'op': 'attention'" in str(stage.to_dict())
            assert share == float(attends)
            letters[attends] = letters.get(attends, 0) + 1
    assert set(letters) == {True, False}


def test_shorter_rows_end_with_zeros() -> None:
    assert table_of([[1, 2, 3], [4]]).tolist() == [[1, 2, 3], [4, 0, 0]]


def test_groups_weigh_the_same_whatever_their_columns() -> None:
    architectures = members(20)
    costs = table_of([cost_features(each) for each in architectures])
    points = Features(architectures, None).points
    varying = int((costs.std(0) > 1e-12).sum())
    assert (points[:, : costs.shape[1]] ** 2).sum(1).mean() == pytest.approx(varying / costs.shape[1])


def test_what_is_trained_covers_the_rest() -> None:
    points = np.array([[0.0], [0.1], [-0.1], [5.0], [-5.2], [5.1]])
    assert choose_spread(points, 3) == [1, 4, 5]
    assert sorted(choose_spread(points, 99)) == list(range(6))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_same_feature_counts_for_or_against_as_the_trainings_say(sign: int) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(60, 5))
    truth = 0.5 + sign * 0.08 * points[:, 2]
    rows = choose_spread(points, 12)
    found = predict(points, rows, [float(truth[row]) for row in rows])
    others = [row for row in range(60) if row not in rows]
    assert np.corrcoef(found.mean[others], truth[others])[0, 1] > 0.95


def test_doubt_grows_away_from_what_was_trained() -> None:
    points = np.linspace(-3, 3, 61)[:, None]
    rows = [20, 24, 28, 32, 36, 40]
    found = predict(points, rows, [0.5 + 0.2 * math.sin(3 * points[row, 0]) for row in rows])
    assert found.deviation[0] > 2 * found.deviation[30]


def test_trainings_that_all_end_alike_say_nothing() -> None:
    found = predict(np.eye(4), [0, 1], [0.5, 0.5])
    assert set(found.mean) == {0.0}
    assert set(found.deviation) == {math.inf}


def test_a_scorer_trains_as_many_as_it_was_told_and_follows_them() -> None:
    architectures, trained = members(40), []

    def observe(architecture: Architecture) -> float:
        trained.append(architecture.digest)
        return 1 / (1 + math.exp(-math.log(nas.cost(architecture).params / 1e4)))

    scorer = CalibratedScorer(architectures, observe, trainings=10, data=None)
    assert len(set(trained)) == len(scorer.observed) == 10
    scores = np.array([scorer.score(each) for each in architectures])
    truth = np.array([nas.cost(each).params for each in architectures])
    assert np.corrcoef(np.argsort(np.argsort(scores)), np.argsort(np.argsort(truth)))[0, 1] > 0.9
    again = CalibratedScorer(architectures, observe, trainings=10, data=None)
    assert [again.score(each) for each in architectures] == scores.tolist()
