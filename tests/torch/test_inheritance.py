"""A trained network's weights in a supernet: its output stays, and smaller members have the units that matter."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas import ops
from nas.architecture import Architecture
from nas.costs.derived_spaces import derive_space
from nas.errors import ArchitectureError, SpaceError
from nas.networks.inheritance.couplings import Group, couplings, permute
from nas.networks.inheritance.filling import cut, fill
from nas.networks.inheritance.importance import by_magnitude, by_taylor
from nas.networks.inheritance.layers import by_change, changes
from nas.networks.loading import load_architecture, load_space
from nas.networks.network import Network, build
from nas.networks.supernet import Supernet
from nas.networks.timm import FAMILIES as TIMM_FAMILIES
from nas.ops.basic import LayerNorm

# A family each, at a side that its windows and strides allow.
FAMILIES = [
    *(("tf_efficientnet_lite0", 32), ("mnasnet_b1", 32), ("coatnet_0", 32), ("deit_tiny", 32), ("levit_128s", 64)),
    *(("convnext_atto", 32), ("poolformer_s12", 32), ("mobilevit_xxs", 64), ("fastvit_t8", 64), ("pit_ti", 64)),
    ("resnet18", 32),
]
MORE = [
    *(("efficientnet_b0", 32), ("swin_tiny", 224), ("maxvit_tiny", 224), ("edgenext_xxs", 64), ("cvt_13", 64)),
    *(("efficientformerv2_s0", 64), ("cait_xxs24", 32), ("mambavision_t", 224), ("convit_tiny", 32)),
    *(("t2t_vit_7", 64), ("visformer_tiny", 64), ("nextvit_small", 64)),
    *(("mobilenetv2_100", 32), ("mobilenetv3_large_100", 32), ("efficientnetv2_s", 32), ("resnet50", 32)),
    *(("tf_efficientnetv2_s", 32), ("vit_tiny", 32), ("vit_small_r26_s32", 32), ("efficientformer_l1", 32)),
    *(("caformer_s18", 32), ("convformer_s18", 32), ("poolformerv2_s12", 32), ("convmixer_768_32", 32)),
    *(("crossvit_tiny", 32), ("coatnet_0_dw", 32)),
]
EACH = [pytest.param(*each, id=each[0]) for each in FAMILIES]
EACH += [pytest.param(*each, id=each[0], marks=pytest.mark.slow) for each in MORE]


def test_each_family_that_timm_has_weights_of_is_tried() -> None:
    tried = {name for name, _ in (*FAMILIES, *MORE)}
    lacking = [next(iter(family.names)) for family in TIMM_FAMILIES if not tried & {*family.names.values()}]
    assert not lacking


def trained(architecture: Architecture) -> Network:
    """A network in which no two units are alike, with statistics as of a trained one."""
    torch.manual_seed(0)
    network = build(architecture).eval()
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.ndim == 1 and tensor.is_floating_point() and not name.endswith("mean"):
            tensor.data.uniform_(0.5, 1.5)
    return network


def images(architecture: Architecture) -> torch.Tensor:
    size = architecture.input.resolution
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def depths(network: Network) -> list[int]:
    """Of a member with layers in every stage of its space."""
    return [len(list(stage.layers)) for stage in network.stages]


def output(module: nn.Module, *args: Any) -> torch.Tensor:
    with torch.no_grad():
        return module(*args)


def close(found: torch.Tensor, wanted: torch.Tensor, *, within: float = 1e-5) -> bool:
    return bool((found - wanted).abs().max() < within * wanted.abs().max())


@pytest.mark.parametrize(("name", "side"), EACH)
def test_a_parent_is_a_member_with_its_own_output(name: str, side: int) -> None:
    architecture = load_architecture(name).at_resolution(side)
    space, network, x = derive_space(architecture, smaller=True), trained(architecture), images(architecture)
    groups, unknown = couplings(architecture)
    assert not unknown
    assert groups
    state = dict(network.state_dict())
    permute(state, by_magnitude(groups, dict(network.named_parameters())))
    supernet = Supernet(space).eval()
    filled = fill(supernet, architecture, state, by_change(space, depths(network), changes(network, x)))
    assert filled.inherited >= len(state) * 0.9
    # NextViT's outputs are small differences of large numbers.
    assert close(output(supernet, x, architecture), output(network, x), within=1e-4 if "nextvit" in name else 1e-5)
    rng = random.Random(0)
    for _ in range(3):
        assert output(supernet, x, space.sample(rng)).isfinite().all()


WITH_A_STAGE_TO_LEAVE_OUT = """
format: 2
name: optional
input: {kind: image, channels: 3, resolution: 32}
stem: {op: conv_norm, width: 16, stride: 2, activation: relu}
layers:
  convolution:
    first:
    - mixer: {op: inverted_residual, width: $width, kernel_size: 3, expand_ratio: 2, stride: $stride}
      shortcut: {op: none}
    rest:
    - mixer: {op: inverted_residual, width: $width, kernel_size: 3, expand_ratio: 2}
stages:
- {stride: 2, width: 16, depth: [1, 2, 3], ops: {C: convolution}}
- {stride: 1, width: 16, depth: [0, 1], ops: {C: convolution}}
- {stride: 2, width: 24, depth: [1, 2, 3], ops: {C: convolution}}
- {stride: 2, width: 32, depth: [2, 3, 4, 5, 6], ops: {C: convolution}}
head: {op: classifier, num_classes: 5}
"""


def test_a_parent_that_leaves_out_a_stage_keeps_the_layers_of_the_others_in_their_places(tmp_path: Path) -> None:
    path = tmp_path / "optional.yaml"
    path.write_text(WITH_A_STAGE_TO_LEAVE_OUT)
    space, rng = load_space(path), random.Random(0)
    drawn = (space.sample(rng) for _ in range(1000))
    wanted = [3, 0, 3, 6]
    architecture = next(a for a in drawn if [gene.depth for gene in space.encode(a).stages] == wanted)
    network, x = trained(architecture), images(architecture)
    order = by_change(space, wanted, changes(network, x))
    assert {stage: sorted(places) for stage, places in order.items()} == {0: [0, 1, 2], 2: [0, 1, 2], 3: [*range(6)]}
    supernet = Supernet(space).eval()
    fill(supernet, architecture, dict(network.state_dict()), order)
    assert close(output(supernet, x, architecture), output(network, x))


@pytest.mark.parametrize(("name", "side"), EACH)
def test_units_are_in_any_order_without_changing_the_output(name: str, side: int) -> None:
    architecture = load_architecture(name).at_resolution(side)
    network, x = trained(architecture), images(architecture)
    before, rng = output(network, x), np.random.default_rng(0)
    groups, _ = couplings(architecture)
    state = dict(network.state_dict())
    permute(state, [(group, rng.permutation(group.size)) for group in groups])
    moved = sum(not torch.equal(state[key], value) for key, value in network.state_dict().items())
    assert moved > len(state) / 2
    network.load_state_dict(state)
    assert close(output(network, x), before, within=2e-4 if "nextvit" in name else 1e-5)


CONVOLUTION: dict[str, Any] = {"op": "inverted_residual", "width": 16, "kernel_size": 5, "expand_ratio": 4}
HYBRID: dict[str, Any] = {
    "format": 2,
    "input": {"channels": 3, "resolution": 16},
    "stem": {"op": "conv_norm", "width": 16, "activation": "relu"},
    "stages": [
        {"layers": [{"repeat": 4, "branches": [{"mixer": CONVOLUTION}]}]},
        {
            "transition": {"op": "conv_norm", "width": 32, "stride": 2},
            "layers": [
                {
                    "repeat": 3,
                    "branches": [
                        {"norm": {"op": "layer_norm"}, "mixer": {"op": "attention", "head_dim": 8}},
                        {"norm": {"op": "layer_norm"}, "mixer": {"op": "feed_forward", "expand_ratio": 4}},
                    ],
                }
            ],
        },
    ],
    "head": {"op": "classifier", "num_classes": 5, "hidden": False},
}


@pytest.fixture
def hybrid() -> Architecture:
    return ops.normalize(Architecture.from_dict(HYBRID))


def hidden(groups: list[Group], suffix: str) -> Iterator[Group]:
    """The groups of hidden units: those of one tensor's rows that no residual stream has."""
    for group in groups:
        if any(name.endswith(suffix) and axis == 0 for name, axis in group.places) and len(group.places) < 14:
            yield group


def silenced(network: Network, groups: Iterator[Group], keep: float, rng: np.random.Generator) -> None:
    """Zeroes every weight of all but some units of each group."""
    state, count = network.state_dict(), 0
    for group in groups:
        count += 1
        silent = rng.permutation(group.size)[round(keep * group.size) :]
        for (name, axis), places in group.places.items():
            if not name.endswith(("running_var", "running_mean")):
                state[name].index_fill_(axis, torch.from_numpy(places[silent].ravel()), 0.0)
    assert count


def smaller_output(network: Network, architecture: Architecture, member: Architecture, *, taylor: bool) -> torch.Tensor:
    """The output of a member of the parent's space that has the parent's weights."""
    space, x = derive_space(architecture, smaller=True), images(architecture)
    groups, parameters, state = couplings(architecture)[0], dict(network.named_parameters()), network.state_dict()
    if taylor:
        network(x).square().sum().backward()
        gradients = {name: p.grad for name, p in parameters.items() if p.grad is not None}
        orders = by_taylor(groups, parameters, [gradients])
    else:
        orders = by_magnitude(groups, parameters)
    state = dict(state)
    permute(state, orders)
    supernet = Supernet(space).eval()
    fill(supernet, architecture, state, by_change(space, depths(network), changes(network, x)))
    return output(supernet, x, member)


def changed(architecture: Architecture, stage: int, **params: Any) -> Architecture:
    """The network with other parameters in the mixers of a stage that have them."""
    plain = architecture.to_dict()
    for layer in plain["stages"][stage]["layers"]:
        for branch in layer["branches"]:
            if branch["mixer"]["op"] in ("inverted_residual", "feed_forward"):
                branch["mixer"] |= params
    return ops.normalize(Architecture.from_dict(plain))


@pytest.mark.parametrize("taylor", [False, True], ids=["magnitude", "taylor"])
def test_silent_hidden_units_are_what_a_smaller_expansion_leaves_out(hybrid: Architecture, taylor: bool) -> None:
    network, rng = trained(hybrid), np.random.default_rng(0)
    groups, _ = couplings(hybrid)
    silenced(network, hidden(groups, "mixer.expand.weight"), 0.5, rng)
    member = changed(hybrid, 0, expand_ratio=2)
    wanted = output(network, images(hybrid))
    assert close(smaller_output(network, hybrid, member, taylor=taylor), wanted)
    # The test would tell: with live units the smaller member differs.
    other = trained(hybrid)
    assert not close(smaller_output(other, hybrid, member, taylor=taylor), output(other, images(hybrid)))


def test_silent_heads_come_last(hybrid: Architecture) -> None:
    network, rng = trained(hybrid), np.random.default_rng(0)
    groups, _ = couplings(hybrid)
    heads = [group for group in groups if any(name.endswith("mixer.q.linear.weight") for name, _ in group.places)]
    heads = [group for group in heads if group.size == 4]
    assert len(heads) == 3
    silent = rng.permutation(4)[2:]
    for group in heads:
        for (name, axis), places in group.places.items():
            network.state_dict()[name].index_fill_(axis, torch.from_numpy(places[silent].ravel()), 0.0)
    for _, order in by_magnitude(heads, dict(network.named_parameters())):
        assert sorted(order[2:]) == sorted(silent)


def test_a_smaller_kernel_is_the_center(hybrid: Architecture) -> None:
    network = trained(hybrid)
    for name, tensor in network.state_dict().items():
        if name.endswith("depthwise.weight"):
            rim = torch.ones(5, 5)
            rim[1:4, 1:4] = 0
            tensor.masked_fill_(rim.bool(), 0.0)
    member = changed(hybrid, 0, kernel_size=3)
    assert close(smaller_output(network, hybrid, member, taylor=False), output(network, images(hybrid)))


@pytest.mark.parametrize("idle", [0, 1, 3])
def test_the_layer_that_changes_nothing_is_left_out_first(hybrid: Architecture, idle: int) -> None:
    network = trained(hybrid)
    state = network.state_dict()
    for name in ("weight", "bias"):
        state[f"stages.0.layers.{idle}.0.mixer.norm3.{name}"].zero_()
    plain = hybrid.to_dict()
    plain["stages"][0]["layers"][0]["repeat"] = 3
    member = ops.normalize(Architecture.from_dict(plain))
    assert close(smaller_output(network, hybrid, member, taylor=False), output(network, images(hybrid)))


def test_a_narrower_network_has_the_most_important_channels(hybrid: Architecture) -> None:
    network, rng = trained(hybrid), np.random.default_rng(0)
    groups, _ = couplings(hybrid)
    (stream,) = [group for group in groups if ("stem.conv.weight", 0) in group.places]
    silenced(network, iter([stream]), 0.5, rng)
    plain = hybrid.to_dict()
    plain["stem"]["width"] = plain["stages"][0]["layers"][0]["branches"][0]["mixer"]["width"] = 8
    # Hidden units follow from the input's width: twice the expansion keeps them all.
    plain["stages"][0]["layers"][0]["branches"][0]["mixer"]["expand_ratio"] = 8
    member = ops.normalize(Architecture.from_dict(plain))
    state = dict(network.state_dict())
    permute(state, by_magnitude(groups, dict(network.named_parameters())))
    narrow = build(member).eval()
    narrow.load_state_dict(cut(state, hybrid, member))
    assert close(output(narrow, images(hybrid)), output(network, images(hybrid)))


def test_what_no_rule_is_known_for_keeps_its_place(monkeypatch: pytest.MonkeyPatch, hybrid: Architecture) -> None:
    from nas.networks.inheritance import rules

    monkeypatch.setattr(rules, "_ELEMENTWISE", rules._ELEMENTWISE - {"relu"})
    groups, unknown = couplings(hybrid)
    assert unknown == ["relu"]
    assert not any(name == "stem.conv.weight" for group in groups for name, _ in group.places)


def test_shortcuts_that_narrower_members_alone_project_begin_as_the_parents_identity() -> None:
    network = equally_wide()
    space = derive_space(network, name="parts", smaller=True)
    member = network.at_resolution(space.input.resolution).with_classes(space.head["num_classes"])
    supernet = Supernet(space)
    filled = fill(supernet, member, trained(member).state_dict(), {})
    projections = {name: tensor for name, tensor in supernet.state_dict().items() if "/shortcut/project/" in name}
    begun = [name for name in projections if name.startswith("stage2-") and name.endswith("weight")]
    assert begun
    assert not {*projections} & {*filled.fresh}
    for name in begun:
        weight = projections[name]
        torch.testing.assert_close(weight[:, :, 0, 0], torch.eye(*weight.shape[:2]))


def equally_wide() -> Architecture:
    """A member of coatnet-small whose second stage is as wide as its first, and does not project its shortcut."""
    space, rng = load_space("coatnet-small"), random.Random(0)
    drawn = (space.sample_genotype(rng, "CCCC") for _ in range(100))
    return space.decode(next(each for each in drawn if each.stages[0].width == each.stages[1].width))


NARROWED = ["mobilevit_xxs", "fastvit_t8", "pit_ti", "resnet18"]


@pytest.mark.parametrize("name", NARROWED)
def test_a_narrower_network_computes_what_the_wider_one_does_from_its_units_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Layer norms see how many channels there are, silent ones too.
    monkeypatch.setattr(F, "layer_norm", lambda x, s, w=None, b=None, eps=0.0: x if w is None else x * w + b)
    monkeypatch.setattr(LayerNorm, "forward", lambda self, x: x * self.weight[:, None, None] + self.bias[:, None, None])
    wide = load_architecture(name).with_classes(10).at_resolution(64)
    narrow = narrower(wide)
    network = trained(wide)
    state = dict(network.state_dict())
    numbered = {key: torch.arange(value.numel(), dtype=torch.float64).view(value.shape) for key, value in state.items()}
    small = build(narrow).eval()
    small.load_state_dict(cut(state, wide, narrow))
    for key, kept in cut(numbered, wide, narrow).items():
        values = state[key].flatten().clone()
        others = torch.ones(len(values), dtype=torch.bool)
        others[kept.long().flatten()] = False
        values[others] = float(key.endswith("running_var"))
        state[key] = values.view(state[key].shape)
    network.load_state_dict(state)
    assert close(output(small, images(wide)), output(network, images(wide)))


@pytest.mark.parametrize("name", ["mobilevit_xxs", "fastvit_t8", "sbcformer_xs"])
def test_a_supernet_gives_a_narrower_member_the_same_units(name: str) -> None:
    wide = load_architecture(name).with_classes(10).at_resolution(64)
    narrow, space = narrower(wide), derive_space(wide, smaller=True)
    assert space.decode(space.encode(narrow)) == narrow
    supernet, state = Supernet(space), trained(wide).state_dict()
    fill(supernet, wide, state, {})
    expected, found = cut(state, wide, narrow), supernet.extract(narrow).state_dict()
    assert found.keys() == expected.keys()
    assert [key for key in found if not torch.equal(found[key], expected[key])] == []


def narrower(wide: Architecture) -> Architecture:
    """A member of a network's parts with at most three quarters of its widths."""
    space = derive_space(wide, smaller=True)
    own = space.encode(wide)
    stages = tuple(
        gene._replace(width=max((width for width in stage.widths if width <= 0.75 * gene.width), default=gene.width))
        for stage, gene in zip(space.stages, own.stages, strict=True)
    )
    for first in sorted(space.stem.combinations, reverse=True):
        try:
            found = space.decode(own._replace(stem=first, stages=stages))
            with torch.device("meta"):
                build(found)
        except (ArchitectureError, SpaceError):
            continue
        if first < own.stem:
            return found
    raise AssertionError("no member is narrower")
