"""Stages whose layers come in runs: of a run some layers may change the map, and how long it is may be chosen."""

from __future__ import annotations

import json
import random
from itertools import product
from typing import Any

import pytest
import torch

import nas
from nas import ops
from nas.costs import SpaceCosts
from nas.errors import NasError
from nas.spaces import Genotype, SearchSpace
from nas.spaces.catalog import parse_space

from ..small_space import small_data

NARROW = {"branches": [{"shortcut": {"op": "none"}, "mixer": {"op": "conv", "kernel_size": 1, "width": "$width/2"}}]}
WIDEN = {"branches": [{"shortcut": {"op": "none"}, "mixer": {"op": "conv", "kernel_size": 1, "width": "$width"}}]}
MIX = {
    "repeat": "$count",
    "branches": [{"norm": {"op": "batch_norm"}, "mixer": {"op": "depthwise_conv", "kernel_size": "$kernel_size"}}],
}


def run_data() -> dict[str, Any]:
    data = {
        **small_data(),
        "layers": {
            "plain": {"choices": {"kernel_size": [3, 5]}, "rest": [{**MIX["branches"][0]}]},  # type: ignore[index]
            "runs": {
                "choices": {"kernel_size": [3, 5], "count": [1, 2]},
                "transition": {"op": "conv", "kernel_size": 2, "padding": 0, "stride": "$stride", "width": "$width/2"},
                "first": {"layers": [MIX, WIDEN]},
                "rest": {"layers": [NARROW, MIX, WIDEN]},
            },
        },
        "stages": [
            {"width": "same", "depth": [1, 2], "ops": {"C": "plain"}},
            {"stride": 2, "width": [8, 12], "depth": [1, 2], "ops": {"C": "runs"}},
        ],
        "rules": {},
    }
    return json.loads(json.dumps(data))


def run_space() -> SearchSpace:
    return parse_space(run_data(), ops)


def every(space: SearchSpace) -> list[Genotype]:
    genes: list[list[Any]] = [stage.choices("C") for stage in space.stages]
    points = (Genotype(stem, stages) for stem in space.stem.combinations for stages in product(*genes))
    kept = (Genotype(p.stem, (p.stages[0]._replace(width=p.stem[0]), p.stages[1])) for p in points)
    return [point for point in dict.fromkeys(kept) if space.valid(point)]


def test_size_is_the_number_of_networks_and_each_has_one_point() -> None:
    space = run_space()
    points = every(space)
    assert len({space.decode(point) for point in points}) == len(points) == space.size()
    assert all(space.encode(space.decode(point)) == point for point in points)


def test_layers_are_those_of_the_runs_in_their_order() -> None:
    space = run_space()
    point = next(p for p in every(space) if p.stages[1][1:3] == (8, 2) and p.stages[1].params == (2, 5))
    stage = space.decode(point).stages[1]
    assert [layer.branches[0].mixer.get("width", "mix") for layer in stage.layers] == [
        *("mix", "mix", 8),
        *(4, "mix", "mix", 8),
    ]
    assert [layer.branches[0].mixer.op for layer in stage.layers].count("depthwise_conv") == 4


def test_mutation_and_crossover_stay_inside() -> None:
    space, rng = run_space(), random.Random(0)
    one, two = space.sample(rng), space.sample(rng)
    for _ in range(60):
        one, two = space.mutate(one, rng), space.crossover(one, two, rng)
        assert space.contains(one)
        assert space.contains(two)


def test_costs_are_those_of_the_networks() -> None:
    space = run_space()
    costs = SpaceCosts(space)
    for point in every(space)[::5]:
        assert costs.cost(point) == nas.cost(space.decode(point))


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_every_member_has_weights_and_gives_its_extracted_networks_output_bit_for_bit(mode: str) -> None:
    space = run_space()
    supernet = nas.Supernet(space, seed=1).train(mode == "train")
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for point in every(space)[::3]:
        member = space.decode(point)
        network = supernet.extract(member).train(mode == "train")
        with torch.no_grad():
            assert torch.equal(supernet(images, member), network(images))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["stages"][1].update(per_layer=True), "a run of layers is chosen as a whole"),
        (lambda d: d["layers"]["runs"]["first"].update(branches=[]), "Unknown key 'branches'"),
        (lambda d: d["layers"]["runs"].update(first={"layers": []}, rest={"layers": []}), "is not used"),
        (lambda d: d["layers"].update(plain={"rest": {"layers": []}}), "at least one layer"),
        (lambda d: d["layers"]["runs"]["choices"].update(count=[0, 1]), "repeat must be a whole number from 1"),
        (lambda d: d["layers"]["runs"]["choices"].update(count=[1, 600]), "over 1000"),
        (
            # Two short runs of mixing alone are as long as one long run.
            lambda d: d["layers"]["runs"].update(first={"layers": [MIX]}, rest={"layers": [MIX]}),
            "two choices give the same layers",
        ),
    ],
)  # fmt: skip
def test_a_wrong_run_is_refused_in_one_line(change: Any, words: str) -> None:
    data = run_data()
    change(data)
    with pytest.raises(NasError) as caught:
        parse_space(data, ops)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
