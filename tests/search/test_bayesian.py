"""The Bayesian searcher: its points, its Gaussian process, and what it finds on made-up accuracies."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern

import nas
from nas.architecture import Architecture
from nas.budget import Budget
from nas.jobs.backend import InThisProcess
from nas.options import METHODS
from nas.pipeline.search import SearchPipeline
from nas.progress import Silent
from nas.sampling.budget_sampler import BudgetSampler
from nas.searchers import bayesian
from nas.searchers.encoding import Encoding
from nas.searchers.searcher import Observed, make_searcher
from nas.searchers.surrogate import Surrogate
from nas.spaces import MANY, Genotype, SearchSpace, StageChoice
from nas.trial import Trial

from ..layered_space import NAMES as LAYERED
from ..layered_space import layered_space
from ..small_space import small_space

SPACE = nas.load_space("coatnet-small")


def genotype(widths: tuple[int, ...], letters: str = "CCAA") -> Genotype:
    params = {"C": (3, 3), "A": (3,)}
    return Genotype((16,), tuple(StageChoice(c, w, 2, params[c]) for c, w in zip(letters, widths, strict=True)))


# -- points -------------------------------------------------------------------------------------------------------


def test_a_width_is_a_column_by_its_logarithm() -> None:
    encoding = Encoding(SPACE)
    low, middle, high = encoding.points([genotype((16, w, 64, 128)) for w in (16, 32, 64)])
    (column,) = np.flatnonzero(low != high)
    assert (low[column], middle[column], high[column]) == pytest.approx((-0.5, 0.0, 0.5))


def test_letters_are_at_distance_one_and_what_is_not_chosen_is_in_the_middle() -> None:
    encoding = Encoding(SPACE)
    one, other = encoding.points([genotype((16, 32, 64, 128)), genotype((16, 32, 64, 128), "CCCA")])
    moved = {group: (one - other)[encoding.groups == group] for group in set(encoding.groups[one != other])}
    letters, ratios, kernels = moved.values()
    assert np.linalg.norm(letters) == pytest.approx(1.0)
    # Each op has its own ratio, 3 of 2 to 4 in both stages; a kernel of 3 is the least of three, or none at all.
    place = math.log2(3) - 1.5
    assert sorted(ratios) == pytest.approx([-place, place])
    assert kernels == pytest.approx([0.5])


@pytest.mark.parametrize("space", [SPACE, *map(layered_space, LAYERED)], ids=lambda space: space.name)
def test_different_members_are_different_points(space: SearchSpace) -> None:
    rng = random.Random(0)
    layouts = space.layouts if space.lists_layouts else (MANY,)
    drawn = [space.sample_genotype(rng, rng.choice(layouts)) for _ in range(60)]
    points = Encoding(space).points(drawn)
    for (a, p), (b, q) in zip(zip(drawn, points, strict=True), zip(drawn[1:], points[1:], strict=True), strict=False):
        assert (a == b) == bool(np.array_equal(p, q))


# -- the process --------------------------------------------------------------------------------------------------


@pytest.fixture
def known() -> tuple[Surrogate, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (24, 4))
    return Surrogate(np.array([0, 1, 1, 2])), points, np.sin(4 * points[:, 0]) + points[:, 3] + rng.normal(0, 0.1, 24)


def test_the_gradient_of_the_fit_is_that_of_its_loss(known: tuple[Surrogate, np.ndarray, np.ndarray]) -> None:
    surrogate, points, scores = known
    squares = surrogate.squares(points)
    at = np.array([0.3, -0.2, 0.9, 0.1, -0.5, -2.0])
    found = surrogate.loss(at, squares, points @ points.T, scores)[1]
    slopes = approx_fprime(at, lambda x: surrogate.loss(x, squares, points @ points.T, scores)[0], 1e-6)
    np.testing.assert_allclose(found, slopes, rtol=1e-3, atol=1e-3)


def test_predictions_are_those_of_another_implementation(known: tuple[Surrogate, np.ndarray, np.ndarray]) -> None:
    surrogate, points, scores = known
    surrogate.fit(points, scores)
    lengths, variances = np.exp(surrogate.logs[:3])[[0, 1, 1, 2]], np.exp(surrogate.logs[3:])
    kernel = ConstantKernel(variances[0]) * Matern(lengths, nu=2.5) + ConstantKernel(variances[1]) * DotProduct(1e-9)
    oracle = GaussianProcessRegressor(kernel, alpha=variances[2] + 1e-8, optimizer=None).fit(points, scores)
    fresh = np.random.default_rng(1).uniform(-0.5, 0.5, (9, 4))
    mean, deviation = oracle.predict(fresh, return_std=True)[:2]
    found = surrogate.condition(points, scores, fresh)
    np.testing.assert_allclose(found.mean, mean, atol=1e-6)
    np.testing.assert_allclose(np.sqrt(found.variance), deviation, atol=1e-5)


def test_to_believe_a_prediction_is_to_have_observed_it(known: tuple[Surrogate, np.ndarray, np.ndarray]) -> None:
    surrogate, points, scores = known
    surrogate.fit(points, scores)
    fresh = np.random.default_rng(2).uniform(-0.5, 0.5, (7, 4))
    believed = surrogate.condition(points, scores, fresh)
    for i in (3, 5):
        believed.believe(i)
    seen = surrogate.condition(np.vstack([points, fresh[[3, 5]]]), np.append(scores, believed.mean[[3, 5]]), fresh)
    np.testing.assert_allclose(believed.mean, seen.mean, atol=1e-6)
    np.testing.assert_allclose(believed.variance, seen.variance, atol=1e-8)


def test_scores_that_are_all_the_same_are_no_fault() -> None:
    surrogate, points = Surrogate(np.zeros(2, dtype=int)), np.random.default_rng(0).normal(size=(5, 2))
    surrogate.fit(points, np.zeros(5))
    assert np.isfinite(surrogate.condition(points, np.zeros(5), points).mean).all()


# -- the search ---------------------------------------------------------------------------------------------------


def bottleneck(architecture: Architecture) -> float:
    """The narrowest stage counts most, and a layer more never harms."""
    stages = SPACE.encode(architecture).stages
    narrowest = min(math.log2(gene.width / stage.widths[0]) for gene, stage in zip(stages, SPACE.stages, strict=True))
    return narrowest + 0.2 * sum(math.log2(gene.width * gene.depth) for gene in stages)


def searched(
    name: str, seed: int, *, trials: int, batch: int = 8, min_share: float = 0.75, worst: float = 0.0
) -> list[Trial]:
    sampler = BudgetSampler(SPACE, [Budget.parse("5MFLOPs")], min_share=min_share)
    searcher, found = make_searcher(name, sampler, seed=seed), list[Trial]()
    for number in range(trials // batch):
        told = [
            Trial(
                number=len(found) + i, architecture=each.architecture, cost=each.cost, status="complete",
                score=bottleneck(each.architecture) - worst * (number == 0 and i == 0), seed=0, seconds=0.0,
                layout=each.layout, origin=each.origin, batch=number,
            )
            for i, each in enumerate(searcher.ask(batch, number))
        ]  # fmt: skip
        searcher.tell(told)
        found += told
    return found


def test_it_beats_random_search_by_far() -> None:
    blind, learnt = (
        [max(trial.score or 0.0 for trial in searched(name, seed, trials=64)) for seed in range(3)]
        for name in ("random", "bo")
    )
    assert min(learnt) > max(blind) + 0.3


def test_one_score_far_below_the_others_does_not_blind_it() -> None:
    found = searched("bo", 0, trials=48, worst=1e9)
    random_ones, learnt = found[1:16], found[32:]
    assert np.mean([t.score or 0.0 for t in learnt]) > max(t.score or 0.0 for t in random_ones)


def test_no_more_trials_than_a_fixed_number_are_fitted_the_best_and_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bayesian, "MOST_OBSERVED", 6)
    trials = searched("random", 0, trials=16)
    informative = bayesian.MostInformative()
    for trial in trials:
        informative.add(Observed(trial, SPACE.encode(trial.architecture), trial.score or 0.0))
    kept = [one.trial for one in informative.chosen()]
    assert len(kept) == 6
    assert informative.count == 16
    assert [t.number for t in kept] == sorted(t.number for t in kept)
    best = sorted(trials, key=lambda t: -(t.score or 0.0))[:3]
    assert {t.number for t in best} < {t.number for t in kept}
    others = [t for t in trials if t not in best]
    assert {t.number for t in kept} - {t.number for t in best} == {t.number for t in others[-3:]}


def test_small_networks_are_proposed_where_the_search_spans_costs() -> None:
    for min_share, small in ((0.0, True), (0.75, False)):
        learnt = [trial for trial in searched("bo", 1, trials=48, min_share=min_share) if trial.origin == "bo"]
        assert any(trial.cost.macs < 0.5 * 5e6 for trial in learnt) == small


# -- the default --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "searcher"),
    [
        ({"method": "nwot"}, "bo"),
        ({"method": "nwot", "searcher": "evolution"}, "evolution"),
        ({"method": "params"}, "evolution"),
        ({"method": "params", "searcher": "bo"}, "bo"),
    ],
)
def test_what_proposes_follows_from_whether_scores_are_free_and_is_on_record(
    asked: dict[str, str], searcher: str, tmp_path: Path
) -> None:
    options = nas.SearchOptions.of(space="small", threads=1, **asked)
    pipeline = SearchPipeline(small_space(), (Budget.parse("50kFLOPs"),), options, Silent(), InThisProcess())
    assert pipeline.plan_new(tmp_path / "run")["options"]["searcher"] == searcher


def test_scores_are_free_where_they_are_predicted_counted_or_found_exactly() -> None:
    free = {name for name in METHODS if METHODS[name].load().free_scores}
    assert {"calibrated", "blockwise", "params", "macs"} <= free
    assert not {"supernet", "nwot", "az-nas"} & free
