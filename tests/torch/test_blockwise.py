"""Ensemble bootstrapping of blocks: losses, targets, gradients, resuming, and the scores of paths."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nas.training.loop as loops
from nas import ops
from nas.costs import SpaceCosts
from nas.methods.blockwise.blocks import Blocks
from nas.methods.blockwise.bootstrapping import BootstrappedNet, Bootstrapping, Heads, bootstrapping_recipe
from nas.methods.blockwise.cell_scorer import CellScorer, standardized
from nas.methods.blockwise.losses import bootstrapping_loss, ensemble, momentum_at
from nas.methods.blockwise.network import BlockSupernet
from nas.methods.blockwise.training import FixedEntry, SequentialTraining, SideBySideTraining, run_entry
from nas.methods.blockwise.views import random_view
from nas.progress import Silent
from nas.spaces import SearchSpace
from nas.spaces.catalog import parse_space
from nas.training.lars import Lars

from ..small_space import small_data
from .training_cases import SIZE, StopAt, Stopped, recipe, same_tensors, tiny_data


def _space() -> SearchSpace:
    """Two blocks; the second has a cell for each of two widths."""
    data = small_data()
    data["layers"]["convolution"]["choices"] = {"kernel_size": [3, 5], "expand_ratio": 1}
    data["layers"]["transformer"]["choices"] = {"expand_ratio": [1, 2]}
    data["stages"][1]["width"] = [8, 12]
    data["input"] = {"channels": 1, "resolution": SIZE}
    data["head"]["num_classes"] = 3
    return parse_space(data, ops)


DATA = tiny_data()
SPACE = _space()
RECIPE = bootstrapping_recipe(recipe(epochs=2))
VIEWS = Bootstrapping("crop")
HEADS = Heads(hidden=12, features=6)


@cache
def blocks() -> Blocks:
    graph = SpaceCosts(SPACE).whole_graph
    return Blocks(SPACE, graph.options, graph.nodes)


def supernet() -> BlockSupernet:
    return BlockSupernet(SPACE, blocks(), HEADS, seed=4)


def images(count: int = 8) -> torch.Tensor:
    return torch.randn(count, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


# -- losses -----------------------------------------------------------------------------------------------------


def test_the_centre_is_the_mean_of_projections_of_length_one() -> None:
    centre = ensemble([torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]])])
    assert torch.allclose(centre, torch.tensor([[0.3, 0.9]]))


def test_the_loss_of_a_hand_computed_case() -> None:
    first, second = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 1.0], [3.0, 0.0]])
    target_1, target_2 = torch.tensor([[0.0, 0.5], [1.0, 0.0]]), torch.tensor([[0.6, 0.8], [0.0, -1.0]])
    # Images: -2 (0.6 + 1/sqrt 2) and -2 (-1 + 1).
    found = bootstrapping_loss((first, second), (target_1, target_2))
    assert found.item() == pytest.approx(-(0.6 + math.sqrt(0.5)))
    assert bootstrapping_loss((target_2, target_1), (target_1, target_2)).item() == pytest.approx(-4)


def test_the_target_stays_more_and_more() -> None:
    assert [momentum_at(step, 10) for step in (0, 5, 10)] == pytest.approx([0.99, 0.995, 1.0])


def test_lars_steps_in_proportion_to_each_tensors_length() -> None:
    weight, bias = nn.Parameter(torch.tensor([[3.0, 4.0]])), nn.Parameter(torch.tensor([1.0]))
    still = nn.Parameter(torch.ones(2, 2))
    optimizer = Lars([weight, still], [bias], lr=0.5, momentum=0.9, weight_decay=0.0, trust=0.02)
    for _ in range(2):
        weight.grad, bias.grad = torch.tensor([[0.0, 10.0]]), torch.tensor([2.0])
        optimizer.step()
    # 0.02 * 5 along the gradient, then 0.9 of that again with 0.02 times the new length.
    once = torch.tensor([3.0, 4.0 - 0.5 * 0.1])
    change = 0.9 * 0.1 + 0.02 * once.norm().item()
    assert torch.allclose(weight.detach()[0], torch.tensor([3.0, once[1].item() - 0.5 * change]))
    assert bias.item() == pytest.approx(1 - 0.5 * 2 - 0.5 * (0.9 * 2 + 2))
    assert torch.equal(still.detach(), torch.ones(2, 2))


def test_views_differ_and_follow_from_the_generator() -> None:
    def view(seed: int, augment: Any = "crop-flip") -> torch.Tensor:
        return random_view(images(), torch.Generator().manual_seed(seed), augment=augment)

    assert view(0).shape == images().shape
    assert torch.equal(view(0), view(0))
    assert not torch.allclose(view(0), view(1))
    # Without moving pixels, every image is only made lighter or darker and given more or less contrast.
    changed, kept = view(0, "none").flatten(1), images().flatten(1)
    for a, b in zip(changed, kept, strict=True):
        slope = ((a - a.mean()) * (b - b.mean())).sum() / ((b - b.mean()) ** 2).sum()
        assert torch.allclose(a - a.mean(), slope * (b - b.mean()), atol=1e-5)
        assert 0.6 <= slope <= 1.4


# -- one block --------------------------------------------------------------------------------------------------


def test_the_heads_cost_is_what_their_layers_multiply() -> None:
    net = supernet().net(1)
    assert isinstance(net, BootstrappedNet)

    def multiplied(*layers: torch.nn.Module) -> int:
        return sum(
            each.weight.numel() for layer in layers for each in layer.modules() if isinstance(each, torch.nn.Linear)
        )

    [(width, first)] = [*net.projector.first.items()][:1]
    followed = multiplied(first, net.projector.last)
    assert HEADS.macs(int(width)) == (followed + multiplied(net.predictor), followed)


def learnt(net: BootstrappedNet, x: torch.Tensor, cell: Any) -> float:
    whole = supernet()
    paths = blocks().cells[cell][:3]
    return net.learn((x, x.flip(3)), whole.shapes[cell], paths)[0]


def test_nothing_flows_back_into_earlier_blocks_or_the_target() -> None:
    whole, cells = supernet(), list(blocks().cells)
    path = next(i for i, p in enumerate(blocks().cells[cells[0]]) if blocks().entered(cells[0], p) == cells[1])
    x = run_entry(whole, [(cells[0], path)], images())
    assert not x.requires_grad
    x.requires_grad_(True)
    learnt(whole.net(1), x, cells[1])
    assert x.grad is None
    assert all(p.grad is None for p in whole.net(0).parameters())
    learning = [name for name, p in whole.net(1).named_parameters() if p.grad is not None]
    assert learning
    assert not any(name.startswith("target") for name in learning)


def test_the_target_follows_by_its_momentum_and_gradients_are_forgotten() -> None:
    net, cell = supernet().net(0), next(iter(blocks().cells))
    learnt(net, images(), cell)
    with torch.no_grad():
        for p in net.online.parameters():
            p.add_(1.0)
    before, online = state(net.target), dict(net.online.named_parameters())
    net.follow(0.75)
    for name, value in net.target.named_parameters():
        assert torch.allclose(value, 0.75 * before[name] + 0.25 * online[name])
    assert all(p.grad is None for p in net.parameters())


def test_the_loss_of_a_block_is_that_of_its_paths_alone() -> None:
    cell = next(iter(blocks().cells))
    net, views, shape = supernet().net(0), (images(), images().flip(3)), supernet().shapes[cell]
    paths = [blocks().cells[cell][i] for i in (0, 5, 11)]
    net.train()
    with torch.no_grad():
        targets = tuple(
            ensemble([net.target_projector(net.target(view, p.pieces, shape)) for p in paths]) for view in views
        )
        losses = []
        for p in paths:
            predicted = tuple(net.predictor(net.projector(net.online(view, p.pieces, shape))) for view in views)
            losses.append(bootstrapping_loss(predicted, targets).item())  # type: ignore[arg-type]
    found, maps = net.learn(views, shape, paths)
    assert found == pytest.approx(sum(losses) / 3)
    with torch.no_grad():
        assert torch.allclose(maps[0], net.online(views[0], paths[0].pieces, shape), atol=1e-6)


# -- training ---------------------------------------------------------------------------------------------------


def entry() -> FixedEntry:
    cells = list(blocks().cells)
    paths = blocks().cells[cells[0]]
    return [(cells[0], next(i for i, p in enumerate(paths) if blocks().entered(cells[0], p) == cells[2]))]


def train(kind: str, folder: Path | None, progress: Any, rows: list[Any]) -> dict[str, torch.Tensor]:
    whole = supernet()
    if kind == "side by side":
        training = SideBySideTraining(whole, DATA, RECIPE, target=VIEWS, paths=2, folder=folder)
    else:
        cell = list(blocks().cells)[2]
        training = SequentialTraining(whole, cell, entry(), DATA, RECIPE, target=VIEWS, paths=2, folder=folder)
    training.run(progress, rows.append)
    if isinstance(training, SideBySideTraining):
        rows.append(training.visits)
    return state(whole)


@pytest.mark.parametrize("kind", ["side by side", "sequential"])
def test_a_training_that_was_stopped_ends_with_the_same_bits(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "_CAUTION", 0.0)  # a checkpoint after every step
    monkeypatch.setattr(loops, "_FIRST_S", -1.0)
    whole: list[Any] = []
    expected = train(kind, None, Silent(), whole)
    stopped: list[Any] = []
    with pytest.raises(Stopped):
        train(kind, tmp_path, StopAt(6), stopped)
    found = train(kind, tmp_path, Silent(), stopped)
    if kind == "sequential":  # the statistics of the frozen block mean nothing, and are in no checkpoint
        found, expected = ({n: v for n, v in each.items() if n.startswith("nets.1")} for each in (found, expected))
    assert same_tensors(found, expected)

    def losses(rows: list[Any]) -> dict[int, float]:
        return {row["epoch"]: row["loss"] for row in rows if "epoch" in row}

    assert losses(stopped) == losses(whole)
    if kind == "side by side":
        assert stopped[-1] == whole[-1]


def test_cells_side_by_side_learn_equally_often() -> None:
    rows: list[Any] = []
    before = state(supernet())
    after = train("side by side", None, Silent(), rows)
    assert {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])} == {"0", "1"}
    visits = rows[-1]
    assert sorted(visits.values()) == [4, 4, 8]  # eight steps visit the first block, and one of the second's cells


def test_one_block_after_the_other_changes_one_block() -> None:
    before = state(supernet())
    after = train("sequential", None, Silent(), [])
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    # Running statistics of the frozen block move, and are never used; its weights stay.
    assert not any("running" not in name and "batches" not in name for name in changed if name.startswith("nets.0"))
    assert any(name.startswith("nets.1.online") for name in changed)


def test_training_brings_paths_to_agree() -> None:
    rows: list[Any] = []
    whole = supernet()
    longer = replace(RECIPE, epochs=8)
    SideBySideTraining(whole, DATA, longer, target=VIEWS, paths=2).run(Silent(), rows.append)
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.3


# -- scores -----------------------------------------------------------------------------------------------------


def scorer(whole: BlockSupernet) -> CellScorer:
    return CellScorer(whole, DATA, RECIPE, target=VIEWS, recalibration_images=24, validation_images=20, seed=3)


def test_a_distance_is_that_of_a_path_recalibrated_alone() -> None:
    whole, cell = supernet(), next(iter(blocks().cells))
    found = scorer(whole).distances(cell)
    net, paths, shape = whole.net(0), blocks().cells[cell], whole.shapes[cell]
    assert len(found) == len(paths)

    def batch(split: Any, count: int) -> torch.Tensor:
        return (split.first(count).images.float() / 255 - DATA.mean[0]) / DATA.std[0]

    known, asked = batch(DATA.train, 24), batch(DATA.search_validation, 20)
    vectors = []
    for path in paths:
        modules = [*net.target.modules_of(path.pieces, shape), net.target_projector]
        norms = [m for part in modules for m in part.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        for part in modules:
            part.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        with torch.no_grad():
            for images in (known, asked):
                x = images
                for part in modules:
                    x = part(x)
                for norm in norms:
                    norm.eval()
        vectors.append(F.normalize(x.double(), dim=1))
    centre = torch.stack(vectors).mean(0)
    expected = [float(((vector - centre) ** 2).sum(1).mean()) for vector in vectors]
    assert found == pytest.approx(expected, rel=1e-4)
    assert max(found) > 1.01 * min(found)


def test_scores_do_not_depend_on_order_or_on_what_was_scored_before() -> None:
    whole, cells = supernet(), list(blocks().cells)
    one = scorer(whole)
    first = [one.distances(cell) for cell in cells]
    assert [one.distances(cell) for cell in reversed(cells)] == first[::-1]


def test_a_path_beside_the_drawn_ones_is_measured_from_their_centre_alone() -> None:
    whole, cell = supernet(), list(blocks().cells)[1]
    one, paths = scorer(whole), blocks().cells[cell]
    drawn = one.distances(cell)
    own, others = one.beside(cell, [paths[4], paths[1]])
    assert own == drawn
    assert others == [drawn[4], drawn[1]]
    assert one.beside(cell, [paths[1]])[1] == others[1:]


def test_weights_that_no_drawn_path_has_are_named() -> None:
    whole, cell = supernet(), next(iter(blocks().cells))
    path = blocks().cells[cell][0]
    assert scorer(whole).lacks(cell, path) is None
    last = path.pieces[-1]
    deeper = path._replace(pieces=(*path.pieces, last._replace(place="stage1-layer9")))
    assert "stage1-layer9" in str(scorer(whole).lacks(cell, deeper))


def test_scores_are_standardized_within_a_cell_and_turned_round() -> None:
    found = standardized([1.0, 2.0, 3.0, 6.0])
    assert sum(found) == pytest.approx(0)
    assert sum(value**2 for value in found) / 4 == pytest.approx(1)
    assert found == sorted(found, reverse=True)
    assert standardized([5.0]) == [0.0]
    assert standardized([0.7, 0.7]) == [0.0, 0.0]
    assert standardized([1.0, 2.0, 3.0, 6.0], [6.0, 3.0]) == [found[3], found[2]]


def printed_scores() -> str:
    whole = supernet()
    SideBySideTraining(whole, DATA, replace(RECIPE, epochs=1), target=VIEWS, paths=2).run(Silent(), lambda row: None)
    return json.dumps([scorer(whole).distances(cell) for cell in list(blocks().cells)[:2]])


def test_another_process_finds_the_same_scores() -> None:
    code = (
        "import torch; torch.set_num_threads(1); from tests.torch.test_blockwise import printed_scores; "
        "print(printed_scores())"
    )
    root = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert ran.stdout.strip() == printed_scores()
    finally:
        torch.set_num_threads(threads)
