"""The best architectures for an additive score, against all members listed: HyTra's 2,818,103, and small spaces."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import NamedTuple

import numpy as np
import pytest

import nas
from nas.costs import SpaceCosts
from nas.methods.blockwise.best_first import best_first
from nas.methods.blockwise.blocks import Blocks, Cell, Path, Piece
from nas.sampling.feasible_set import FeasibleSet
from nas.spaces import END, START, Node, SearchSpace

from ..layered_space import NAMES, layered_space
from ..small_space import small_space

METRICS = ("macs", "params")
Scores = dict[Cell, list[float]]


class Known(NamedTuple):
    """A space, its blocks and their costs."""

    space: SearchSpace
    costs: SpaceCosts
    blocks: Blocks


@cache
def known(name: str) -> Known:
    if name == "small":
        space = small_space()
    elif name in NAMES:
        space = layered_space(name)
    else:
        space = nas.load_space(name).adapted(resolution=64 if name == "hytra" else 32)
    costs = SpaceCosts(space)
    graph = costs.whole_graph
    return Known(space, costs, Blocks(space, graph.options, graph.nodes))


def drawn_scores(blocks: Blocks, seed: int) -> Scores:
    rng = random.Random(seed)
    return {cell: [rng.gauss(0, 1) for _ in paths] for cell, paths in blocks.cells.items()}


def everything(blocks: Blocks, scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Costs and scores of all members: every way through every block after every other."""
    reached = {START: (np.zeros((1, 2), np.int64), np.zeros(1))}
    for node, moves in blocks.moves.items():
        costs, sums = reached.pop(node)
        found: dict[Node, list[tuple[np.ndarray, np.ndarray]]] = {}
        for move in moves:
            gained = scores[blocks.cell(node)][move.path]
            found.setdefault(move.node, []).append((costs + np.array([move.macs, move.params]), sums + gained))
        for target, parts in found.items():
            parts = [*([reached[target]] if target in reached else []), *parts]
            reached[target] = tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))  # type: ignore
    return reached[END]


def in_range(costs: np.ndarray, wanted: FeasibleSet) -> np.ndarray:
    columns = costs[:, [METRICS.index(metric) for metric in wanted.metrics]]
    bounds = np.array(wanted.bounds)
    return np.logical_and((columns <= bounds).all(1), (columns >= wanted.min_share * bounds).any(1))


def ranges(costs: np.ndarray, share: float) -> Iterator[FeasibleSet]:
    for aim in (0.0, 0.75, 0.97):
        for metrics in (("macs",), ("params",), METRICS):
            bounds = tuple(int(np.quantile(costs[:, METRICS.index(metric)], share)) for metric in metrics)
            yield FeasibleSet(metrics=metrics, bounds=bounds, min_share=aim)


@pytest.mark.parametrize(("name", "size"), [("hytra", 2_818_103), ("nats-size", 32_768)])
def test_the_best_of_a_large_space_are_those_of_a_list_of_all(name: str, size: int) -> None:
    blocks = known(name).blocks
    scores = drawn_scores(blocks, seed=size)
    costs, sums = everything(blocks, scores)
    assert len(sums) == size
    for share, wanted in zip((0.1, 0.3, 0.5, 0.7), list(ranges(costs, 0.4))[2::2], strict=True):
        wanted = replace(wanted, bounds=tuple(int(0.8 * (1 + share) * bound) for bound in wanted.bounds))
        best = np.sort(-np.partition(-sums[in_range(costs, wanted)], 100)[:100])[::-1]
        found = list(islice(best_first(blocks, scores, wanted), 100))
        assert np.allclose([each.score for each in found], best)


@pytest.mark.parametrize("name", [*NAMES, "small"])
def test_all_members_come_once_by_falling_score_with_their_exact_cost(name: str) -> None:
    space, _, blocks = known(name)
    scores = drawn_scores(blocks, 3)
    listed, sums = everything(blocks, scores)
    assert len(sums) == space.size()
    for wanted in ranges(listed, 0.5):
        found = list(best_first(blocks, scores, wanted))
        assert np.allclose([each.score for each in found], np.sort(sums[in_range(listed, wanted)])[::-1])
        assert len({tuple(o.choice for o in each.options) for each in found}) == len(found)
        for each in random.Random(0).sample(found, min(10, len(found))):
            cost = nas.cost(space.decode(space.genotype(option.choice for option in each.options)))
            assert cost.macs == sum(option.macs for option in each.options)
            assert cost.params == sum(option.params for option in each.options)
            assert each.score == pytest.approx(sum(scores[cell][path] for cell, path in each.paths))
            for metric, bound in zip(wanted.metrics, wanted.bounds, strict=True):
                assert getattr(cost, metric) <= bound


def test_only_scored_paths_are_taken() -> None:
    blocks = known("nats-size").blocks
    scores = drawn_scores(blocks, 0)
    last = [cell for cell in scores if cell.block == 2]
    for cell in last[1:]:
        del scores[cell]
    [first] = [cell for cell in scores if cell.block == 0]
    scores[first][5:] = [-np.inf] * len(scores[first][5:])
    everywhere = FeasibleSet(metrics=("macs",), bounds=(10**12,))
    found = list(best_first(blocks, scores, everywhere))
    # Five paths of the first block, then whatever ends in the one cell left, then all that follows there.
    assert len(found) == 5 * 8 * len(blocks.cells[last[0]])
    assert {path for each in found for cell, path in each.paths if cell == first} == {*range(5)}
    assert list(best_first(blocks, {}, everywhere)) == []


@pytest.mark.parametrize("name", ["hytra", "nats-size", *NAMES, "small"])
def test_a_member_is_led_along_the_paths_that_made_it(name: str) -> None:
    space, _, blocks = known(name)
    wanted = FeasibleSet(metrics=("macs",), bounds=(10**12,))
    for found in islice(best_first(blocks, drawn_scores(blocks, 5), wanted), 30):
        genotype = space.genotype(option.choice for option in found.options)
        taken = [(cell, blocks.cells[cell][number]) for cell, number in found.paths]
        assert blocks.route(genotype) == taken
        # Choices that make the same network are the same path.
        assert blocks.route(space.encode(space.decode(genotype))) == taken


# -- the blocks themselves ------------------------------------------------------------------------------------


def test_hytra_has_the_published_numbers_of_paths() -> None:
    blocks = known("hytra").blocks
    assert str(blocks.cut) == "4 blocks of 4, 4, 4, 4 layers"
    found: dict[int, dict[int, int]] = {}
    for cell, paths in blocks.cells.items():
        found.setdefault(cell.block, {})[cell.width] = len(paths)
    assert found[0] == {0: 16 + 35 + 64 + 16}  # the stem may lead to any scale: by the first layer's, that many
    for block in (1, 2, 3):
        assert found[block] == {256: 51, 512: 99, 1024: 80, 2048: 16}


def test_the_nats_size_space_is_cut_as_published() -> None:
    blocks = known("nats-size").blocks
    assert blocks.cut.ends == (1, 3, 4)  # with the stem before: [2, 2, 1] layers
    assert [len(paths) for cell, paths in blocks.cells.items() if cell.block == 1] == [64] * 8


def test_a_path_is_what_a_network_runs_in_its_block() -> None:
    space, _, blocks = known("fabric")
    everywhere = FeasibleSet(metrics=("macs",), bounds=(10**12,))
    for each in islice(best_first(blocks, drawn_scores(blocks, 0), everywhere), 20):
        architecture = space.decode(space.genotype(option.choice for option in each.options))
        pieces: list[Piece] = [p for cell, path in each.paths for p in blocks.cells[cell][path].pieces]
        layers = [layer for stage in architecture.stages for layer in stage.layers]
        assert [piece.config for piece in pieces] == [architecture.stem, *layers]


def test_where_there_are_too_many_paths_some_are_drawn_and_the_cheapest_stay() -> None:
    space, costs, blocks = known("nats-size")
    graph = costs.whole_graph
    few = Blocks(space, graph.options, graph.nodes, most=20)
    again = Blocks(space, graph.options, graph.nodes, most=20)
    assert few.sampled
    assert not blocks.sampled
    assert few.cells == again.cells
    for cell, paths in few.cells.items():
        whole: list[Path] = blocks.cells[cell]
        assert len(paths) == min(20, len(whole))
        assert {*paths} <= {*whole}
    cheapest = min(everything(blocks, drawn_scores(blocks, 0))[0][:, 0])
    assert min(everything(few, drawn_scores(few, 0))[0][:, 0]) == cheapest
