"""How two networks differ: each parameter that was changed is named, and nothing else; costs are those of a profile."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest

import nas
from nas import ops
from nas.architecture import Architecture, BlockConfig, StageConfig
from nas.costs import profile
from nas.costs.comparing import Comparison, compare
from nas.networks.loading import load_architecture


def rows(found: Comparison) -> list[tuple[str, str, str | None, str | None]]:
    return [(each.where, each.what, each.a, each.b) for each in found.differences]


def with_stage(architecture: Architecture, place: int, stage: StageConfig) -> Architecture:
    stages = (*architecture.stages[:place], stage, *architecture.stages[place + 1 :])
    return ops.normalize(replace(architecture, stages=stages))


def with_mixer(architecture: Architecture, place: int, **changes: object) -> Architecture:
    """The same network with other parameters of the first mixer of each layer of a stage."""
    stage = architecture.stages[place]
    layers = tuple(
        replace(
            layer,
            branches=(
                replace(layer.branches[0], mixer=layer.branches[0].mixer.having(changes)),  # type: ignore[arg-type]
                *layer.branches[1:],
            ),
        )
        for layer in stage.layers
    )
    return with_stage(architecture, place, replace(stage, layers=layers))


def test_equal_networks_have_no_difference() -> None:
    assert compare(load_architecture("coatnet_0"), load_architecture("coatnet_0")).differences == ()


def test_costs_are_in_the_order_of_the_parts_whichever_network_has_more_stages() -> None:
    shallow, deep = load_architecture("levit_128"), load_architecture("coatnet_0")
    order = ["total", "stem", *(f"stage {number}" for number in range(1, len(deep.stages) + 1)), "head"]
    assert len(shallow.stages) < len(deep.stages)
    for found in (compare(shallow, deep), compare(deep, shallow)):
        assert list(dict.fromkeys(each.where for each in found.costs)) == order


def test_depths_differ_and_nothing_else() -> None:
    found = compare(load_architecture("coatnet_0"), load_architecture("coatnet_1"))
    assert rows(found) == [("stage 2", "depth", "3", "6"), ("stage 3", "depth", "5", "14")]


@pytest.mark.parametrize(
    ("place", "changes", "expected"),
    [
        (0, {"kernel_size": 5}, ("stage 1", "mbconv kernel_size", "3", "5")),
        (1, {"expand_ratio": 6}, ("stage 2", "mbconv expand_ratio", "4", "6")),
        (2, {"head_dim": 64}, ("stage 3", "attention head_dim", "32", "64")),
        (2, {"qkv_bias": False}, ("stage 3", "attention qkv_bias", "yes", "no")),
    ],
)
def test_a_changed_parameter_is_named_with_both_values_given_or_default(
    place: int, changes: dict[str, object], expected: tuple[str, str, str, str]
) -> None:
    a = load_architecture("coatnet_0")
    b = with_mixer(a, place, **changes)
    assert rows(compare(a, b)) == [expected]
    where, what, first, second = expected
    assert rows(compare(b, a)) == [(where, what, second, first)]


def test_values_that_differ_within_a_stage_are_in_the_order_of_its_layers() -> None:
    a = load_architecture("coatnet_0")
    first, *others = with_mixer(a, 1, kernel_size=5).stages[1].layers
    b = with_stage(a, 1, replace(a.stages[1], layers=(a.stages[1].layers[0], *others)))
    assert first != b.stages[1].layers[0]
    assert rows(compare(a, b)) == [("stage 2", "mbconv kernel_size", "3", "3, 5")]


def test_other_ops_are_described_whole_and_missing_stages_named() -> None:
    a, b = load_architecture("coatnet_0"), load_architecture("levit_128")
    found = {(where, what): (first, second) for where, what, first, second in rows(compare(a, b))}
    first, second = found["stage 1", "ops"]
    assert first == "2 x mbconv, width 96"
    assert second is not None
    assert second.startswith("4 x attention (head_dim 16")
    assert found["stage 4", "ops"] == ("2 x attention + feed_forward, width 768", None)
    assert found["stage 1", "width"] == ("96", "128")
    assert not any(where == "stage 1" and " " in what for where, what in found)


def test_a_first_layer_alone_has_the_ops_of_a_deeper_stage() -> None:
    # In this space the first layer of a stage has a shortcut of its own, the others none.
    first, second = nas.load_space("coatnet-small"), random.Random(1)
    found = set()
    for _ in range(60):
        a, b = nas.sample(first, second), nas.sample(first, second)
        for number, stages in enumerate(zip(a.stages, b.stages, strict=True), start=1):
            mixers = [{branch.mixer.op for layer in s.layers for branch in layer.branches} for s in stages]
            depths = [len(s.layers) for s in stages]
            if mixers[0] == mixers[1] and 1 in depths and depths[0] != depths[1]:
                what = {each.what for each in compare(a, b).differences if each.where == f"stage {number}"}
                assert "depth" in what
                assert not what & {"ops", "norm", "shortcut", "mbconv stride"}
                found |= what
    assert "mbconv kernel_size" in found


def test_a_stage_that_keeps_its_map_has_another_stride() -> None:
    a = load_architecture("coatnet_0")
    first, *others = a.stages[0].layers
    branch = first.branches[0]
    assert branch.shortcut is not None
    kept = replace(branch, mixer=branch.mixer.having({"stride": 1}), shortcut=branch.shortcut.having({"stride": 1}))
    b = with_stage(a, 0, replace(a.stages[0], layers=(replace(first, branches=(kept,)), *others)))
    found = {(where, what): values for where, what, *values in rows(compare(a, b))}
    assert found["stage 1", "mbconv stride"] == ["2", "1"]


def test_other_norms_are_named() -> None:
    a = load_architecture("coatnet_0")
    norm = BlockConfig(op="layer_norm")
    layers = tuple(
        replace(layer, branches=tuple(replace(branch, norm=norm) for branch in layer.branches))
        for layer in a.stages[0].layers
    )
    b = with_stage(a, 0, replace(a.stages[0], layers=layers))
    assert ("stage 1", "norm", "batch_norm", "layer_norm") in rows(compare(a, b))


def test_inputs_and_heads_are_compared() -> None:
    a = load_architecture("coatnet_0")
    b = a.at_resolution(160).with_channels(1).with_classes(10)
    found = rows(compare(a, b))
    assert found[:2] == [("input", "channels", "3", "1"), ("input", "resolution", "224", "160")]
    assert ("head", "classifier num_classes", "1000", "10") in found


def test_costs_are_those_of_the_profiles() -> None:
    a, b = load_architecture("coatnet_0"), load_architecture("coatnet_1")
    found = {(each.where, each.metric): (each.a, each.b) for each in compare(a, b).costs}
    profiles = profile(a), profile(b)
    assert found["total", "macs"] == (profiles[0].macs, profiles[1].macs)
    assert found["total", "memory_bytes"] == (profiles[0].peak_memory_bytes, profiles[1].peak_memory_bytes)
    by_stage = sum(second - first for (where, metric), (first, second) in found.items()  # type: ignore[operator]
                   if where != "total" and metric == "macs")  # fmt: skip
    assert by_stage == profiles[1].macs - profiles[0].macs
    assert ("stage 1", "macs") not in found


@pytest.mark.parametrize("space", ["coatnet-small", "hytra"])
def test_members_of_a_space_differ_exactly_where_they_are_unequal(space: str) -> None:
    rng = random.Random(0)
    loaded = nas.load_space(space)
    members = [nas.sample(loaded, rng) for _ in range(12)]
    for a, b in pairwise(members):
        found = {each.where for each in compare(a, b).differences}
        unequal = {
            f"stage {number}"
            for number, (first, second) in enumerate(zip(a.stages, b.stages, strict=False), start=1)
            if first != second
        }
        assert {where for where in found if where.startswith("stage")} >= unequal
        assert bool(found) == (a != b)
