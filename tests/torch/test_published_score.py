"""BossNAS's own distance of a path: online predictions of one view against the target networks' mean of the other."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas import ops
from nas.costs import SpaceCosts
from nas.data import Split
from nas.methods.blockwise.blocks import Blocks, Path
from nas.methods.blockwise.bootstrapping import (
    BootstrappedNet,
    Bootstrapping,
    Heads,
    PublishedBootstrapping,
    bootstrapping_recipe,
)
from nas.methods.blockwise.cell_scorer import CellScorer, path_scores, standardized
from nas.methods.blockwise.network import BlockSupernet
from nas.methods.blockwise.options import BOSSNAS, STANDARDIZED
from nas.methods.blockwise.training import SideBySideTraining
from nas.progress import Silent
from nas.spaces.catalog import parse_space

from ..small_space import small_data
from .training_cases import SIZE, recipe, tiny_data

DATA = tiny_data()
RECIPE = bootstrapping_recipe(recipe(epochs=1))
PUBLISHED = PublishedBootstrapping("crop")
SEED, KNOWN, ASKED = 3, 24, 20


@cache
def blocks() -> Blocks:
    data = small_data()
    data["layers"]["convolution"]["choices"] = {"kernel_size": [3, 5], "expand_ratio": 1}
    data["input"] = {"channels": 1, "resolution": SIZE}
    data["head"]["num_classes"] = 3
    space = parse_space(data, ops)
    graph = SpaceCosts(space).whole_graph
    return Blocks(space, graph.options, graph.nodes)


@cache
def trained() -> BlockSupernet:
    whole = BlockSupernet(blocks().space, blocks(), Heads(hidden=12, features=6), seed=4)
    SideBySideTraining(whole, DATA, RECIPE, target=Bootstrapping("crop"), paths=2).run(Silent(), lambda row: None)
    return whole


def net() -> BootstrappedNet:
    found = trained().net(0)
    assert isinstance(found, BootstrappedNet)
    return found


def distances(target: Bootstrapping = PUBLISHED) -> list[float]:
    scorer = CellScorer(
        trained(), DATA, RECIPE, target=target, recalibration_images=KNOWN, validation_images=ASKED, seed=SEED
    )
    return scorer.distances(next(iter(blocks().cells)))


def views(split: Split, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    images = (split.first(count).images.float() / 255 - DATA.mean[0]) / DATA.std[0]
    first, second = PUBLISHED.batch(images, torch.Generator().manual_seed(SEED * 1_000_003)).views
    return first, second


def alone(weights: Any, projector: nn.Module, path: Path) -> list[torch.Tensor]:
    """A path's projections of two views, its BatchNorms recalibrated on two views of training images."""
    modules = [*weights.modules_of(path.pieces, trained().shapes[next(iter(blocks().cells))]), projector]
    norms = [m for part in modules for m in part.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network = nn.Sequential(*modules).train()
    with torch.no_grad():
        for view in views(DATA.train, KNOWN):
            network(view)
        network.eval()
        return [network(view) for view in views(DATA.search_validation, ASKED)]


def test_a_distance_is_of_online_predictions_of_one_view_from_the_mean_target_of_the_other() -> None:
    found = distances()
    paths = next(iter(blocks().cells.values()))
    targets = [alone(net().target, net().target_projector, path) for path in paths]
    centres = [torch.stack([each[view] for each in targets]).mean(0) for view in (0, 1)]
    expected = []
    for path in paths:
        projected = alone(net().online, net().projector, path)
        with torch.no_grad():
            first, second = (net().predictor.eval()(x) for x in projected)
        crossed = F.cosine_similarity(first, centres[1]) + F.cosine_similarity(second, centres[0])
        expected.append(4 - 2 * float(crossed.mean()))
    assert found == pytest.approx(expected, rel=1e-4)
    assert max(found) > 1.01 * min(found)
    assert all(0 <= each <= 8 for each in found)


def test_it_is_another_distance_than_ours() -> None:
    assert standardized(distances()) != pytest.approx(standardized(distances(Bootstrapping("crop"))), abs=0.1)


def test_the_length_of_predictions_and_the_common_length_of_projections_do_not_matter() -> None:
    before = distances()
    heads = [net().predictor[-1], net().target_projector.last]
    with torch.no_grad():
        for head in heads:
            for parameter in head.parameters():
                parameter.mul_(4.0)
        after = distances()
        for head in heads:
            for parameter in head.parameters():
                parameter.div_(4.0)
    assert after == pytest.approx(before, rel=1e-5)


def test_the_predictor_and_the_online_network_matter() -> None:
    before, ours = distances(), distances(Bootstrapping("crop"))
    last = net().predictor[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.neg_()
        last.bias.neg_()
        turned, same = distances(), distances(Bootstrapping("crop"))
        last.weight.neg_()
        last.bias.neg_()
    assert turned == pytest.approx([8 - each for each in before], rel=1e-4)  # both cosines change their sign
    assert same == ours


def test_by_hand_a_perfect_prediction_is_at_zero_and_its_opposite_at_eight() -> None:
    # Two views of one image; projections of two paths of unlike length, whose mean is not that of their directions.
    first = torch.tensor([[[3.0, 0.0]], [[0.0, 1.0]]])
    second = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]])
    centre = torch.tensor([[[1.5, 0.5]], [[0.0, 1.0]]])
    perfect = centre.flip(0)
    found = PUBLISHED.distances([[perfect, -perfect, centre], [first, second, 100 * second]], drawn=2)
    crossed = 0.5 / 2.5**0.5
    assert found == pytest.approx([0, 8, 4 - 4 * crossed], abs=1e-5)


def test_published_scores_are_the_distances_turned_round_and_nothing_else() -> None:
    assert path_scores(BOSSNAS, [1.0, 3.0]) == [-1.0, -3.0]
    assert path_scores(BOSSNAS, [1.0, 3.0], [5.0]) == [-5.0]
    assert path_scores(STANDARDIZED, [1.0, 3.0]) == standardized([1.0, 3.0])
    assert path_scores(STANDARDIZED, [1.0, 3.0], [5.0]) == standardized([1.0, 3.0], [5.0])
