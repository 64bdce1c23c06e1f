"""Block-wise distillation: the teacher's maps, where its blocks end, errors, training, and the distances of paths."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import nas
import nas.training.loop as loops
from nas import ops
from nas.architecture import Architecture
from nas.costs import SpaceCosts
from nas.errors import OptionError
from nas.methods.blockwise.blocks import Blocks, Partition
from nas.methods.blockwise.cell_scorer import CellScorer
from nas.methods.blockwise.distillation import Distillation, DistilledNet, Projections, Teacher, block_ends, tapped
from nas.methods.blockwise.network import BlockSupernet
from nas.methods.blockwise.training import SideBySideTraining
from nas.progress import Silent
from nas.spaces import SearchSpace
from nas.spaces.catalog import parse_space
from nas.training import Recipe, train_network
from nas.training.evaluation import recalibrate

from ..layered_space import layered_space
from ..small_space import small_data
from .training_cases import SIZE, StopAt, Stopped, recipe, same_tensors, tiny_data

DATA = tiny_data()
RECIPE = recipe(epochs=2)
TAPS = ((1, 2), (2, 1))


def _space() -> SearchSpace:
    """Two blocks, a stage each; paths of both ends in maps of one size, of two and of three widths."""
    data = small_data()
    data["layers"]["convolution"]["choices"] = {"kernel_size": [3, 5], "expand_ratio": 1}
    data["layers"]["transformer"]["choices"] = {"expand_ratio": [1, 2]}
    data["input"] = {"channels": 1, "resolution": SIZE}
    data["head"]["num_classes"] = 3
    return parse_space(data, ops)


SPACE = _space()


@cache
def blocks() -> Blocks:
    graph = SpaceCosts(SPACE).whole_graph
    return Blocks(SPACE, graph.options, graph.nodes)


def member(layout: str = "CA", depths: tuple[int, ...] = (2, 1)) -> Architecture:
    rng = random.Random(0)
    while True:
        genotype = SPACE.sample_genotype(rng, layout)
        if tuple(gene.depth for gene in genotype.stages) == depths:
            return SPACE.decode(genotype)


def trained() -> Any:
    torch.manual_seed(1)
    network = nas.build(member())
    train_network(network, DATA, recipe(epochs=2), progress=Silent())
    return network


@cache
def teacher() -> Teacher:
    return Teacher(trained(), TAPS, DATA)


def supernet() -> BlockSupernet:
    channels = tuple(x.shape[1] for x in teacher().maps(torch.zeros(1, 1, SIZE, SIZE)))
    return BlockSupernet(SPACE, blocks(), Projections(channels=channels), seed=4)


def prepared(count: int, mean: float = DATA.mean[0], std: float = DATA.std[0]) -> torch.Tensor:
    return (DATA.train.first(count).images.float() / 255 - mean) / std


# -- the teacher ------------------------------------------------------------------------------------------------


def test_every_channel_of_a_teacher_has_mean_0_and_deviation_1_over_the_images() -> None:
    maps = teacher().maps(prepared(len(DATA.train)))
    network = teacher().network
    assert torch.allclose(tapped(network, TAPS, prepared(4))[1], network.forward_features(prepared(4)))
    for x in maps:
        assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(x.shape[1]), atol=1e-4)
        spread = x.std((0, 2, 3), correction=0)
        assert ((spread - 1).abs() < 1e-2).any()
        assert (spread < 1 + 1e-4).all()  # a channel that is always the same stays so


def test_a_teacher_sees_images_as_it_was_trained_on_them() -> None:
    other = Teacher(teacher().network, TAPS, DATA, mean=(0.3,), std=(0.5,))
    raw = tapped(teacher().network, TAPS, prepared(8, 0.3, 0.5))
    mean, deviation = other._mean, other._deviation
    for found, x, m, d in zip(other.maps(prepared(8)), raw, mean, deviation, strict=True):
        assert torch.allclose(found, (x - m) / d, atol=1e-4)


def test_blocks_end_where_those_of_a_member_do() -> None:
    cut = blocks().cut
    assert str(cut) == "2 blocks of 1, 1 stages"
    assert block_ends(SPACE, cut, member(depths=(2, 1))) == ((1, 2), (2, 1))
    whole = Partition(by_layers=False, ends=(2,))
    assert block_ends(SPACE, whole, member(depths=(1, 3))) == ((2, 3),)
    # No member, but of as many stages.
    other = replace(member(), stages=(member().stages[0], member(depths=(1, 3)).stages[1]))
    longer = replace(other, stages=(replace(other.stages[0], layers=other.stages[0].layers * 3), other.stages[1]))
    assert block_ends(SPACE, cut, longer) == ((1, 6), (2, 3))
    with pytest.raises(OptionError, match="its 1 stages cannot be matched to the blocks of small, which has 2: give a"):
        block_ends(SPACE, cut, replace(longer, stages=longer.stages[:1]))


def test_absent_stages_and_blocks_of_layers_are_followed() -> None:
    fabric = layered_space("fabric")
    graph = SpaceCosts(fabric).whole_graph
    cut = Blocks(fabric, graph.options, graph.nodes).cut
    rng, seen = random.Random(0), set[int]()
    for _ in range(20):
        architecture = fabric.sample(rng)
        ends = block_ends(fabric, cut, architecture)
        seen.add(len(architecture.stages))
        layers = [len(stage.layers) for stage in architecture.stages]
        totals = [sum(layers[: stage - 1]) + layer for stage, layer in ends]
        if cut.by_layers:
            assert tuple(totals) == cut.ends
        assert totals[-1] == sum(layers)
    assert len(seen) > 1


# -- errors and training ----------------------------------------------------------------------------------------


def test_an_error_is_that_of_the_projection_on_the_smaller_grid() -> None:
    net = supernet().net(0)
    assert isinstance(net, DistilledNet)
    generator = torch.Generator().manual_seed(0)
    wide = net.projections["8"].out_channels
    x, goal = (torch.randn(3, *shape, generator=generator) for shape in ((8, 4, 4), (wide, 2, 2)))
    pooled = F.avg_pool2d(x, 2)
    weight, bias = net.projections["8"].weight, net.projections["8"].bias
    expected = torch.einsum("oi,bihw->bohw", weight[:, :, 0, 0], pooled) + bias.view(1, -1, 1, 1)
    assert torch.allclose(net.errors(x, goal), ((expected - goal) ** 2).mean((1, 2, 3)), atol=1e-6)
    large = torch.randn(3, wide, 8, 8, generator=generator)
    projected = net.projections["8"](x)
    assert torch.allclose(net.errors(x, large), ((projected - F.avg_pool2d(large, 2)) ** 2).mean((1, 2, 3)), atol=1e-6)


def train(folder: Path | None, progress: Any, rows: list[Any], settings: Recipe = RECIPE) -> BlockSupernet:
    whole = supernet()
    SideBySideTraining(whole, DATA, settings, target=Distillation(teacher()), paths=2, folder=folder).run(
        progress, rows.append
    )
    return whole


def test_errors_fall_and_neither_the_teacher_nor_another_block_is_moved_by_a_block() -> None:
    before = {name: value.clone() for name, value in teacher().network.state_dict().items()}
    rows: list[Any] = []
    train(None, Silent(), rows, recipe(epochs=15, augment="none", learning_rate=0.03))
    assert rows[0]["loss"] > 1  # what a map without any sense comes to, on standardized goals
    assert rows[-1]["loss"] < 0.9
    assert same_tensors(teacher().network.state_dict(), before)
    whole, target, cells = supernet(), Distillation(teacher()), list(blocks().cells)
    x = torch.randn(4, cells[1].width, SIZE, SIZE, requires_grad=True)
    batch = target.batch(prepared(4), torch.Generator())._replace(views=(x,))
    paths = blocks().cells[cells[1]][:2]
    _, after = target.learn(whole.net(1), 1, batch, whole.shapes[cells[1]], paths, autocast=RECIPE.autocast())
    assert x.grad is None
    assert not after.views[0].requires_grad
    assert all(p.grad is None for p in whole.net(0).parameters())
    assert any(p.grad is not None for p in whole.net(1).parameters())
    target.follow(whole.net(1), 0.5)
    assert all(p.grad is None for p in whole.net(1).parameters())


def test_a_training_that_was_stopped_ends_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "_CAUTION", 0.0)  # a checkpoint after every step
    monkeypatch.setattr(loops, "_FIRST_S", -1.0)
    expected = train(None, Silent(), [])
    with pytest.raises(Stopped):
        train(tmp_path, StopAt(6), [])
    assert same_tensors(train(tmp_path, Silent(), []).state_dict(), expected.state_dict())


def test_a_distance_is_the_error_of_a_path_recalibrated_alone() -> None:
    whole = train(None, Silent(), [])
    target, cell = Distillation(teacher()), next(iter(blocks().cells))
    scorer = CellScorer(whole, DATA, RECIPE, target=target, recalibration_images=24, validation_images=20)
    found = scorer.distances(cell)
    net, shape = whole.net(0), whole.shapes[cell]
    asked = (DATA.search_validation.first(20).images.float() / 255 - DATA.mean[0]) / DATA.std[0]
    goal = target.goals(asked)[0]
    assert isinstance(net, DistilledNet)
    for number, path in list(enumerate(blocks().cells[cell]))[::5]:
        alone = torch.nn.Sequential(*net.online.modules_of(path.pieces, shape))
        recalibrate(alone, replace(DATA, train=DATA.train.first(24)), RECIPE, images=24)
        alone.eval()
        with torch.no_grad():
            assert found[number] == pytest.approx(float(net.errors(alone(asked), goal).mean()), rel=1e-4)
    assert max(found) > 1.01 * min(found)
    own, others = scorer.beside(cell, blocks().cells[cell][3:5])
    assert own == found
    assert others == found[3:5]
