"""Scores: finite, the same in any order, and the supernet is none the worse for them."""

from __future__ import annotations

import math

import pytest
import torch

from nas.methods.counted import COUNTS
from nas.methods.supernet.population import population_tree
from nas.methods.supernet.scorer import SupernetScorer
from nas.methods.zero_cost.aggregated import PARTS
from nas.methods.zero_cost.proxies import PROXIES
from nas.networks.supernet import Supernet
from nas.options import METHODS
from nas.progress import Silent
from nas.training import SupernetTraining, recalibrate
from nas.training.evaluation import scoring_batches

from .training_cases import Members, member, recipe, same_tensors, tiny_data, tiny_space

SPACE, DATA = tiny_space(), tiny_data()
CANDIDATES = [member(SPACE, layout, seed) for layout in SPACE.layouts for seed in range(3)]


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    trained = Supernet(SPACE, seed=0)
    SupernetTraining(trained, Members(SPACE), DATA, recipe(epochs=4), strategy="sandwich").run(
        Silent(), lambda _: None, watch_every=4
    )
    return trained


def scores(supernet: Supernet, order: list[int], **given: str) -> dict[int, float]:
    scorer = SupernetScorer(supernet, DATA, recipe(), **given)  # type: ignore[arg-type]
    return {i: scorer.score(CANDIDATES[i]) for i in order}


def test_scores_are_shares(supernet: Supernet) -> None:
    for metric in ("accuracy", "balanced-accuracy"):
        found = scores(supernet, [*range(len(CANDIDATES))], metric=metric)
        assert all(math.isfinite(score) and 0 <= score <= 1 for score in found.values())


def test_a_score_by_loss_is_that_of_the_logits_alone_and_in_a_population(supernet: Supernet) -> None:
    scorer = SupernetScorer(supernet, DATA, recipe(), metric="negative-loss", recalibration_images=48)
    network = supernet.extract(CANDIDATES[0])
    recalibrate(network, DATA, recipe(), images=48)
    network.eval()
    with torch.no_grad():
        [(x, labels)] = scoring_batches(DATA.search_validation, DATA, recipe())
        expected = -torch.nn.functional.cross_entropy(network(x).double(), labels).item()
    assert scorer.score(CANDIDATES[0]) == pytest.approx(expected, rel=1e-12)
    assert scorer.score_many(CANDIDATES) == [scorer.score(each) for each in CANDIDATES]


def test_scores_do_not_depend_on_the_order_of_trials(supernet: Supernet) -> None:
    forward = scores(supernet, [*range(len(CANDIDATES))])
    assert scores(supernet, [*reversed(range(len(CANDIDATES)))]) == forward
    assert scores(supernet, [4]) == {4: forward[4]}


def test_scoring_leaves_the_supernet_as_it_was_bit_for_bit(supernet: Supernet) -> None:
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    scores(supernet, [*range(len(CANDIDATES))])
    assert same_tensors(supernet.state_dict(), before)
    assert all(parameter.grad is None for parameter in supernet.parameters())


def test_the_test_split_plays_no_part(supernet: Supernet, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = scores(supernet, [0, 3])
    DATA.test.images.add_(7)
    try:
        assert scores(supernet, [0, 3]) == expected
    finally:
        DATA.test.images.sub_(7)


def test_the_options_name_the_methods_that_there_are() -> None:
    assert tuple(METHODS) == ("calibrated", "supernet", "blockwise", *PARTS, *sorted(PROXIES.names()), *COUNTS)


# -- many together ----------------------------------------------------------------------------------------------


def test_networks_scored_together_have_the_scores_of_those_scored_alone(supernet: Supernet) -> None:
    scorer = SupernetScorer(supernet, DATA, recipe(), metric="balanced-accuracy", recalibration_images=48)
    alone = [scorer.score(each) for each in CANDIDATES]
    assert len(set(alone)) > 1
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    assert scorer.score_many(CANDIDATES) == alone
    assert scorer.score_many([*CANDIDATES[::-1], CANDIDATES[2]]) == [*alone[::-1], alone[2]]
    assert same_tensors(supernet.state_dict(), before)


def test_what_begins_alike_is_one_branch_of_the_tree(supernet: Supernet) -> None:
    first, other = CANDIDATES[0], CANDIDATES[-1]
    paths = [[module for _, module in supernet.path(each)] for each in (first, other)]
    common = 0
    while paths[0][common] is paths[1][common]:
        common += 1

    root = population_tree(supernet, [first, first, other])
    assert len(root.nodes()) == len(paths[0]) + len(paths[1]) - common
    node = root
    for module in paths[0]:
        node = node.branches[module]
    assert node.ends == [0, 1]
