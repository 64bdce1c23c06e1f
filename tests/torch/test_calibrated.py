"""The calibrated score: what is trained, what is made of it, and that it follows the trainings, not its makers."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np
import pytest

import nas
from nas.architecture import Architecture
from nas.benchmark.rank_statistics import spearman
from nas.methods.calibrated.calibration import Calibration, LeaveOneOut, chosen_rows, leave_one_out
from nas.methods.calibrated.features import FeatureGroups, FeatureScaler, logit
from nas.methods.calibrated.gaussian_process import AveragedGP, expected_accuracy, select_by_variance_reduction
from nas.methods.calibrated.kernels import NOISE, GroupedLinear, prior
from nas.methods.calibrated.scorer import CalibratedScorer
from nas.methods.features import cost_features, depth, output_widths, stage_features, table_of

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


def mbconv(width: int, expand_ratio: int) -> dict[str, Any]:
    """An MBConv of published form, written out."""
    opening = [{"op": "conv", "width": width * expand_ratio, "kernel_size": 1}, {"op": "activation"}]
    return {
        "op": "residual",
        "mixer": {
            "op": "serial",
            "ops": [*opening, {"op": "depthwise_conv"}, {"op": "conv", "width": width, "kernel_size": 1}],
        },
    }


def one_layer(mixer: dict[str, Any]) -> Architecture:
    """Of a stem of 8 channels, one layer with the mixer, and a classifier."""
    branch = {"mixer": mixer, "shortcut": {"op": "none"}}
    return Architecture.from_dict({
        "format": 2, "input": {"kind": "image", "channels": 3, "resolution": 32},
        "stem": {"op": "conv", "width": 8}, "stages": [{"layers": [{"branches": [branch]}]}],
        "head": {"op": "classifier", "num_classes": 10},
    })  # fmt: skip


def test_depth_and_channels_are_those_of_the_blocks_inside_containers() -> None:
    narrow, wide = mbconv(8, 2), mbconv(8, 6)
    assert output_widths(one_layer({"op": "serial", "ops": [narrow]})) == [8, 16, 16, 8]
    assert output_widths(one_layer({"op": "serial", "ops": [wide]})) == [8, 48, 48, 8]
    thrice = one_layer({"op": "serial", "ops": [narrow, {"op": "batch_norm"}], "repeat": 3})
    assert depth(thrice) == 9
    assert stage_features(thrice)[1] == 9
    beside = one_layer({"op": "concat", "ops": [narrow, {"op": "conv", "width": 24}, {"op": "identity"}]})
    assert output_widths(beside) == [8, 16, 16, 8 + 24 + 8]
    halves = one_layer({"op": "split", "shares": [1, 3], "ops": [{"op": "depthwise_conv"}, {"op": "identity"}]})
    assert output_widths(halves) == [8, 8]
    assert depth(one_layer({"op": "batch_norm"})) == 1


def test_shorter_rows_end_with_zeros() -> None:
    assert table_of([[1, 2, 3], [4]]).tolist() == [[1, 2, 3], [4, 0, 0]]


class Made:
    """Proxies whose values are made up: one is size, one is infinite for some, one is always the same."""

    def know(self, digest: str, values: list[float]) -> None:
        assert len(values) == 3

    def __call__(self, architecture: Architecture) -> list[float]:
        params = nas.cost(architecture).params
        return [float(params), -math.inf if params % 2 else float(params), 1.0]


PROXIES: Any = Made()


def test_groups_weigh_the_same_whatever_their_columns() -> None:
    measured = FeatureGroups.of(members(20), PROXIES)
    points = FeatureScaler(measured).reference
    start = 0
    for group, varying in zip(
        measured.groups, (measured.groups[0].std(0) > 0, measured.groups[1].std(0) > 1e-12, [1, 1, 0]), strict=True
    ):
        columns = points[:, start : start + group.shape[1]]
        assert (columns**2).sum(1).mean() == pytest.approx(sum(varying) / group.shape[1])
        start += group.shape[1]


def test_the_point_of_a_network_depends_on_the_reference_alone() -> None:
    architectures = members(20)
    scaler = FeatureScaler(FeatureGroups.of(architectures[:12], PROXIES))
    together = scaler.points(FeatureGroups.of(architectures, PROXIES))
    for place, each in enumerate(architectures):
        assert scaler.points(FeatureGroups.of([each], PROXIES))[0] == pytest.approx(together[place])
    assert together[:12] == pytest.approx(scaler.reference)
    assert np.isfinite(together).all()


def doubt_left(points: np.ndarray, widths: list[int], rows: list[int]) -> float:
    """The prior's variance summed over all points once the numbers of some are known, by a matrix inverse."""
    kernel: Any = prior(widths)
    known = np.linalg.inv(kernel(points[rows]) + NOISE * np.eye(len(rows)))
    across = kernel(points, points[rows])
    return float((kernel.diag(points) - (across @ known * across).sum(1)).sum())


def test_what_is_trained_leaves_the_least_doubt_about_the_rest() -> None:
    points = np.random.default_rng(3).normal(size=(30, 5))
    chosen = select_by_variance_reduction(points, [2, 3], 6)
    for number in range(1, 7):
        before = chosen[: number - 1]
        left = {row: doubt_left(points, [2, 3], [*before, row]) for row in range(30) if row not in before}
        assert chosen[number - 1] == min(left, key=left.__getitem__)
    assert sorted(select_by_variance_reduction(points, [2, 3], 99)) == list(range(30))


def test_what_is_trained_leaves_the_least_doubt_beside_what_is_trained_anyway() -> None:
    points = np.random.default_rng(3).normal(size=(30, 5))
    alone = select_by_variance_reduction(points, [2, 3], 6)
    known = alone[:2]
    chosen = select_by_variance_reduction(points, [2, 3], 3, known=known)
    assert chosen == alone[2:5], "the greedy order goes on"
    assert not {*chosen} & {*known}
    reference = FeatureGroups.of(members(20), PROXIES)
    first = FeatureScaler(reference).select(3)
    rows = chosen_rows(reference, len(first) + 4, first=first)
    assert rows[: len(first)] == first
    assert len(rows) == len(set(rows)) >= len(first) + 3, "none of those given is chosen again"


def test_what_is_trained_leaves_the_least_doubt_for_what_it_costs() -> None:
    rng = np.random.default_rng(6)
    points, costs = rng.normal(size=(30, 5)), rng.uniform(0.2, 5, 30)
    chosen = select_by_variance_reduction(points, [2, 3], 4, costs)
    spent, afford = 0.0, 4 * costs.mean()
    for number, row in enumerate(chosen):
        before = chosen[:number]
        doubt = doubt_left(points, [2, 3], before) if before else float(prior([2, 3]).diag(points).sum())
        fits = [each for each in range(30) if each not in before and spent + costs[each] <= afford]
        worth = {each: (doubt - doubt_left(points, [2, 3], [*before, each])) / costs[each] ** 0.5 for each in fits}
        assert row == max(worth, key=worth.__getitem__)
        spent += costs[row]
    assert not any(spent + costs[each] <= afford for each in range(30) if each not in chosen)
    assert len(chosen) > 4, "cheap ones are more than as many average ones"
    alike = select_by_variance_reduction(points, [2, 3], 6, np.full(30, 7.0))
    assert alike == select_by_variance_reduction(points, [2, 3], 6)


def test_trainings_cost_what_multiply_adds_and_steps_do() -> None:
    architectures = members(20)
    macs = np.array([nas.cost(each).macs for each in architectures], dtype=float)
    costs = macs + macs.mean() / 8
    scaler = FeatureScaler(FeatureGroups.of(architectures, PROXIES))
    rows = scaler.select(5)
    assert rows == select_by_variance_reduction(scaler.reference, scaler.widths, 5, costs, scaler.counts)
    assert costs[rows].sum() <= 5 * costs.mean()


def test_some_points_stand_for_very_many() -> None:
    rng = np.random.default_rng(4)
    points = rng.normal(size=(2500, 4))
    chosen = select_by_variance_reduction(points, [2, 2], 8)
    assert len(set(chosen)) == 8
    drawn = [doubt_left(points, [2, 2], rng.choice(2500, 8, replace=False).tolist()) for _ in range(20)]
    assert doubt_left(points, [2, 2], chosen) < min(drawn)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_same_feature_counts_for_or_against_as_the_trainings_say(sign: int) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(60, 5))
    truth = 0.5 + sign * 0.08 * points[:, 2]
    rows = select_by_variance_reduction(points, [2, 3], 12)
    mean, _ = AveragedGP(points[rows], truth[rows].tolist(), [2, 3]).at(points)
    others = [row for row in range(60) if row not in rows]
    assert np.corrcoef(mean[others], truth[others])[0, 1] > 0.95


def test_a_group_that_says_nothing_of_the_trainings_hardly_counts() -> None:
    rng = np.random.default_rng(1)
    telling, silent = rng.normal(size=(80, 2)), rng.normal(size=(80, 40))
    truth = telling @ [1.0, -0.5]
    points, rows = np.hstack([telling, silent]), list(range(16))
    grouped, _ = AveragedGP(points[rows], truth[rows].tolist(), [2, 40]).at(points)
    alike, _ = AveragedGP(points[rows], truth[rows].tolist(), [42]).at(points)
    errors = [np.sqrt(np.mean((mean[16:] - truth[16:]) ** 2)) for mean in (grouped, alike)]
    assert errors[0] < 0.5 * errors[1]


def test_slopes_of_the_grouped_kernel_are_those_of_differences() -> None:
    points, step = np.random.default_rng(2).normal(size=(5, 3)), 1e-6
    kernel = GroupedLinear(np.array([0.5, 2.0]), (1, 2))
    covariance, slopes = kernel(points, eval_gradient=True)
    assert covariance == pytest.approx(0.5 * points[:, :1] @ points[:, :1].T + 2 * points[:, 1:] @ points[:, 1:].T)
    assert np.diag(covariance) == pytest.approx(kernel.diag(points))
    for place in range(2):
        moved: Any = kernel.clone_with_theta(kernel.theta + step * np.eye(2)[place])
        assert (moved(points) - covariance) / step == pytest.approx(slopes[:, :, place], rel=1e-4, abs=1e-5)


def test_doubt_grows_away_from_what_was_trained() -> None:
    points = np.linspace(-3, 3, 61)[:, None]
    rows = [20, 24, 28, 32, 36, 40]
    known = [0.5 + 0.2 * math.sin(3 * points[row, 0]) for row in rows]
    _, deviation = AveragedGP(points[rows], known, [1]).at(points)
    assert deviation[0] > 2 * deviation[30]


def test_what_is_expected_is_the_mean_over_sizes_whichever_are_drawn() -> None:
    rng = np.random.default_rng(5)
    points = rng.normal(size=(30, 3))
    numbers = points[:10, 0] + 0.3 * rng.normal(size=10)
    scaled = (numbers - numbers.mean()) / numbers.std()
    apart = ((points[:, None] - points[None, :10]) ** 2).sum(2)
    total, mean, square = 0.0, np.zeros(30), np.zeros(30)
    low, high = np.log([1e-3, 1e-3, 1e-3, 0.5, 1e-3]), np.log([1e2, 1e2, 1e2, 20, 1])
    for first, second, smooth, reach, noise in np.exp(rng.uniform(low, high, (6000, 5))):
        between = first * points[:, :1] @ points[:10, :1].T + second * points[:, 1:] @ points[:10, 1:].T
        between += smooth * np.exp(-apart / 2 / reach**2)
        known = between[:10] + noise * np.eye(10)
        inverse = np.linalg.inv(known)
        weight = math.exp(-0.5 * scaled @ inverse @ scaled) / math.sqrt(np.linalg.det(known))
        expected = between @ inverse @ scaled
        own = first * points[:, 0] ** 2 + second * (points[:, 1:] ** 2).sum(1) + smooth + noise
        total += weight
        mean += weight * expected
        square += weight * (own - ((between @ inverse) * between).sum(1) + expected**2)
    mean, square = mean / total, square / total
    found, deviation = AveragedGP(points[:10], numbers.tolist(), [1, 2]).at(points)
    assert (found - numbers.mean()) / numbers.std() == pytest.approx(mean, abs=0.1)
    assert deviation / numbers.std() == pytest.approx(np.sqrt(square - mean**2), rel=0.15)


def test_trainings_that_all_end_alike_say_nothing() -> None:
    mean, deviation = AveragedGP(np.eye(4)[:2], [0.5, 0.5], [4]).at(np.eye(4))
    assert set(mean) == {0.5}
    assert set(deviation) == {math.inf}
    assert expected_accuracy(mean, deviation) == pytest.approx(1 / (1 + math.exp(-0.5)))


def test_what_is_expected_is_the_mean_of_accuracies_not_of_logits() -> None:
    drawn = np.random.default_rng(0).normal(size=400_000)
    for mean, deviation in ((2.0, 0.0), (2.0, 1.5), (-1.0, 3.0)):
        expected = (1 / (1 + np.exp(-(mean + deviation * drawn)))).mean()
        assert expected_accuracy(np.array([mean]), np.array([deviation]))[0] == pytest.approx(expected, abs=2e-3)


def test_a_count_pays_until_the_numbers_say_otherwise() -> None:
    rng = np.random.default_rng(8)
    points, count = rng.normal(size=(40, 3)), rng.normal(size=40)
    flat = 1e-6 * rng.normal(size=3)  # three trainings that hardly differ, by chance
    asked = {}
    for name, numbers in (("nothing", flat), ("against", -count[:3])):
        process = AveragedGP(points[:3], numbers, [3], counts=count[:3, None], variances=np.full(3, 1e-4))
        asked[name] = np.corrcoef(process.at(points, count[:, None])[0], count)[0, 1]
    assert asked["nothing"] > 0.9
    told = AveragedGP(points[:12], -count[:12], [3], counts=count[:12, None])
    assert np.corrcoef(told.at(points, count[:, None])[0], count)[0, 1] < -0.9


def test_numbers_of_known_noise_are_followed_less() -> None:
    points = np.random.default_rng(9).normal(size=(14, 2))
    true = 2 * points[:, 0]
    numbers, variances = true.copy(), np.zeros(14)
    numbers[5], variances[5] = true[5] + 4, 16.0
    believed, doubted = (
        AveragedGP(points, numbers.tolist(), [2], variances=known).at(points[5:6])[0][0] for known in (None, variances)
    )
    assert abs(doubted - true[5]) < 0.5 * abs(believed - true[5])


def test_the_noise_of_an_accuracy_is_that_of_as_many_images() -> None:
    architectures = members(30)
    scaler = FeatureScaler(FeatureGroups.of(architectures, PROXIES))
    reached = np.linspace(0.3, 0.8, 12)
    found = scaler.fit(range(12), reached.tolist(), 50).at(scaler.reference, scaler.counts)
    known = AveragedGP(
        scaler.reference[:12],
        [logit(each) for each in reached],
        scaler.widths,
        counts=scaler.counts[:12],
        variances=1 / (50 * reached * (1 - reached)),
    ).at(scaler.reference, scaler.counts)
    assert np.array(found) == pytest.approx(np.array(known))
    assert found[0] != pytest.approx(scaler.fit(range(12), reached.tolist()).at(scaler.reference, scaler.counts)[0])


@pytest.mark.parametrize("count", [3, 8])
def test_leaving_one_out_predicts_each_training_by_the_others(count: int) -> None:
    architectures = members(20)
    reference = FeatureGroups.of(architectures, PROXIES)
    trained = tuple((row, 0.4 + 0.02 * row) for row in range(count))
    calibration = Calibration(
        reference=reference, digests=tuple(each.digest for each in architectures), trained=trained, images=500
    )
    found = leave_one_out(calibration)
    if count < 4:
        assert found == LeaveOneOut(predicted=(), spearman=None)
        return
    scaler, reached = calibration.scaler, [accuracy for _, accuracy in trained]
    for place, predicted in enumerate(found.predicted):
        rows, accuracies = zip(*(each for each in trained if each[0] != place), strict=True)
        mean, deviation = scaler.fit(rows, accuracies, 500, like=reached).at(scaler.reference, scaler.counts)
        assert expected_accuracy(mean, deviation)[place] == pytest.approx(predicted)
    assert found.spearman == pytest.approx(spearman(found.predicted, [accuracy for _, accuracy in trained]))
    alike = Calibration(
        reference=reference, digests=calibration.digests, trained=tuple((row, 0.5) for row in range(count))
    )
    assert leave_one_out(alike).spearman is None


def test_a_score_follows_the_trainings_and_survives_being_written_down() -> None:
    architectures = members(40)
    reference = FeatureGroups.of(architectures, PROXIES)

    def accuracy(architecture: Architecture) -> float:
        return 1 / (1 + math.exp(-math.log(nas.cost(architecture).params / 1e4)))

    scaler = FeatureScaler(reference)
    rows = select_by_variance_reduction(scaler.reference, scaler.widths, 10)
    trained = tuple((row, accuracy(architectures[row])) for row in rows)
    digests = tuple(each.digest for each in architectures)
    calibration = Calibration(reference=reference, digests=digests, trained=trained)
    scorer = CalibratedScorer(calibration, PROXIES)
    scores = [scorer.score(each) for each in architectures]
    assert all(0 < score < 1 for score in scores)
    truth = [nas.cost(each).params for each in architectures]
    assert np.corrcoef(scores, np.log(truth))[0, 1] > 0.9
    kept = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    again = CalibratedScorer(kept, PROXIES)
    assert [again.score(each) for each in architectures[::-1]] == scores[::-1]


def test_where_all_are_affordable_all_are_trained() -> None:
    rng = np.random.default_rng(7)
    for count in range(2, 30):
        points, costs = rng.normal(size=(count, 3)), rng.uniform(0.1, 3, count)
        assert sorted(select_by_variance_reduction(points, [3], count, costs)) == list(range(count))
