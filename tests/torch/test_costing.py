"""Counts: equal to hooks on leaf modules, to closed forms worked out by hand, and to those that are shipped."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

import nas
from nas import ops
from nas.costs import SpaceCosts
from nas.costs import count_table as table
from nas.costs.count_table import SHIPPED, CountTable, count_key, source_hash
from nas.costs.counter import count
from nas.errors import ArchitectureError, SpaceError
from nas.networks.loading import load_architecture, load_space
from nas.ops import Shape, make
from nas.spaces import catalog
from nas.spaces.catalog import parse_space

from ..small_space import listed, small_data, small_space
from .cases import counted_by_hooks

SMALL = small_space()


@pytest.mark.parametrize("space", [SMALL, load_space("coatnet-small")], ids=["small", "coatnet-small"])
@pytest.mark.parametrize("seed", range(5))
def test_cost_equals_hooks_on_the_built_network(space: nas.SearchSpace, seed: int) -> None:
    architecture = space.sample(random.Random(seed))
    size = space.input.resolution
    macs, params, out = counted_by_hooks(nas.build(architecture).eval(), torch.zeros(1, 3, size, size))
    found = nas.cost(architecture)
    assert (found.macs, found.params) == (macs, params)
    assert out.shape == (1, architecture.num_classes)


def test_a_network_small_enough_to_count_by_hand() -> None:
    data = {
        "format": 2,
        "input": {"resolution": 4},
        "stem": {"op": "conv", "width": 8, "kernel_size": 1},
        "stages": [{"layers": [{"branches": [{"mixer": {"op": "attention", "width": 8, "head_dim": 4}}]}]}],
        "head": {"op": "classifier", "num_classes": 5, "hidden": False},
    }
    found = nas.cost(ops.normalize(nas.Architecture.from_dict(data)))
    attention = 4 * 16 * 8 * 8 + 2 * 16 * 16 * 8
    assert found.macs == 16 * 3 * 8 + attention + 8 * 5
    assert found.params == (3 * 8 + 8) + (4 * (64 + 8) + 2 * 7 * 7) + (8 * 5 + 5)


def test_one_multiply_add_counts_as_one_for_one_image() -> None:
    with torch.device("meta"):
        linear = make({"op": "conv", "width": 5, "kernel_size": 1}, Shape(3, 1, 1))
    assert count(linear, Shape(3, 1, 1)) == (15, 20, Shape(5, 1, 1), ())


def test_costs_of_a_space_are_those_of_its_networks() -> None:
    costs = SpaceCosts(SMALL)
    for point in random.Random(0).sample(listed(SMALL), 150):
        assert costs.cost(point) == nas.cost(SMALL.decode(point))
    assert costs.positions == 3
    assert costs.total_stride == 4


def test_costs_follow_the_resolution_and_the_classes() -> None:
    architecture = SMALL.sample(random.Random(0))
    base, large, more = (
        nas.cost(a) for a in (architecture, architecture.at_resolution(16), architecture.with_classes(9))
    )
    assert large.macs > 3.5 * base.macs
    width = SMALL.encode(architecture).stages[-1].width
    assert more.macs - base.macs == 4 * width
    assert more.params - base.params == 4 * (width + 1)


def test_shipped_counts_are_up_to_date() -> None:
    """After a change of an op or the model: python -m nas.costs.ship."""
    assert json.loads(SHIPPED.read_text())["source"] == source_hash()


def test_shipped_counts_equal_fresh_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    shipped = json.loads(SHIPPED.read_text())["counts"]
    compared = 0
    for name in catalog.space_names():
        space, fresh = load_space(name), CountTable()
        fresh._stored = {}
        for seed in range(3):
            fresh.architecture(space.sample(random.Random(seed)))
        for (config, shape), counted in fresh._blocks.items():
            assert shipped[count_key(config, shape)] == json.loads(json.dumps(counted))
            compared += 1
    assert compared > 30


def test_shipped_counts_cover_the_shipped_spaces_and_networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    known = CountTable()
    monkeypatch.setattr("nas.costs.space_costs.TABLE", known)
    for _ in SpaceCosts(load_space("coatnet-small")).everything():
        pass
    for name in catalog.zoo_names():
        known.architecture(load_architecture(name))
    assert known._fresh == {}


def test_new_counts_are_kept_between_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    architecture = SMALL.sample(random.Random(0))
    first = CountTable()
    rows = first.architecture(architecture)
    first.save()
    assert table.cache_file().is_file()
    assert source_hash() in table.cache_file().name
    second = CountTable()
    monkeypatch.setattr(table, "count", None)  # counting anew would call it
    assert second.architecture(architecture) == rows
    table.cache_file().write_text("{torn")
    monkeypatch.undo()
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    assert CountTable().architecture(architecture) == rows


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "file"))
    known = CountTable()
    known.architecture(SMALL.sample(random.Random(0)))
    known.save()


def test_stages_that_do_not_fit_are_refused_by_number() -> None:
    architecture = load_architecture("coatnet_0").at_resolution(8)
    assert nas.cost(architecture).macs > 0
    layers = [{"branches": [{"mixer": {"op": "conv", "width": 9}}]}]
    data = {"format": 2, "stem": {"op": "conv_stem", "width": 8}, "stages": [{"layers": layers}],
            "head": {"op": "classifier"}}  # fmt: skip
    with pytest.raises(ArchitectureError, match="stage 1"):
        nas.cost(ops.normalize(nas.Architecture.from_dict(data)))


def test_templates_that_break_the_chain_are_refused() -> None:
    """Sums over a chain are exact only if every choice hands on its width, and maps of one size."""
    data = small_data()
    for part in ("first", "rest"):
        data["layers"]["convolution"][part][0]["mixer"]["width"] = 8
    data["layers"]["convolution"]["first"][0]["shortcut"]["width"] = 8
    data["stages"] = [{**data["stages"][0], "width": [16], "ops": {"C": "convolution"}}]
    data["rules"] = {}
    with pytest.raises(SpaceError, match="gives 8 channels where the width is 16"):
        list(SpaceCosts(parse_space(data, ops)).everything())
    data = small_data()
    data["layers"]["transformer"]["first"][0]["mixer"]["stride"] = 4
    data["layers"]["transformer"]["first"][0]["shortcut"]["stride"] = 4
    data["stages"][1]["stride"] = 1
    with pytest.raises(SpaceError, match="maps of different sizes"):
        list(SpaceCosts(parse_space(data, ops)).everything())


def test_layers_that_cannot_be_built_are_refused_by_stage() -> None:
    data = small_data()
    data["layers"]["convolution"]["first"][0]["mixer"]["activation"] = "swish"
    with pytest.raises(SpaceError, match=r"small, stage 1.*activation must be one of"):
        list(SpaceCosts(parse_space(data, ops)).everything())
