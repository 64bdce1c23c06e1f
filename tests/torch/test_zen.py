"""Zen-score as its paper has it: known by hand on small networks, without shortcuts, by BatchNorms alone."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from nas.methods.zero_cost.probing import Probe, Probed, vanilla
from nas.methods.zero_cost.proxies import PROXIES
from nas.ops import Shape, make

SHAPE = Shape(4, 6, 6)
COUNT = 8


class Backbone(nn.Module):
    """A network whose last map is all there is of it."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x)


def block(op: str, **config: Any) -> nn.Module:
    torch.manual_seed(0)
    return make({"op": op, **config}, SHAPE)


def score(*blocks: nn.Module, shape: Shape = SHAPE, seed: int = 0) -> float:
    images = torch.zeros(COUNT, shape.channels, shape.height, shape.width)
    probe = Probe(images=images, labels=torch.zeros(COUNT, dtype=torch.long), seed=seed)
    return PROXIES["zen"](Probed(Backbone(*blocks), probe))  # type: ignore[arg-type]


def pointwise(channels: int = 4, weight: float = 1.0, bias: bool = True) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, channels, 1, bias=bias)
    nn.init.constant_(convolution.weight, weight)
    return convolution


CONV = {"op": "conv", "kernel_size": 3}


@pytest.mark.parametrize("size", [3, 6])
def test_of_one_convolution_it_is_the_log_of_the_summed_change(size: int) -> None:
    found = score(pointwise(1), shape=Shape(1, size, size))
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(1, generator=generator).item()
    torch.randn(COUNT, 1, size, size, generator=generator)  # the images, which it is linear in
    change = 0.01 * torch.randn(COUNT, 1, size, size, generator=generator)
    summed = [abs(weight) * each.abs().sum().item() for each in change]
    assert found == pytest.approx(math.log(sum(summed) / COUNT), abs=1e-4)


def test_neither_the_weights_nor_the_biases_of_the_network_matter_but_the_seed_does() -> None:
    found = score(pointwise(weight=1.0))
    assert score(pointwise(weight=-7.0)) == found
    assert score(pointwise(bias=False)) == found
    assert score(pointwise(), seed=1) != pytest.approx(found, abs=1e-3)


def test_what_a_batch_norm_divides_by_is_put_back() -> None:
    # The moved images have nearly the same statistics, so that the norm changes nothing at all in sum.
    norm = nn.BatchNorm2d(4)
    nn.init.constant_(norm.weight, 5.0)
    assert score(pointwise(), norm) == pytest.approx(score(pointwise()), abs=0.2)
    # Each of many does: normalized maps of fan-in 4 x 9 are six times smaller than what comes in.
    deep = [each for _ in range(3) for each in (block(**CONV), nn.BatchNorm2d(4))]
    assert score(*deep) - score(*deep[:2]) == pytest.approx(2 * math.log(6), abs=0.5)


def test_other_norms_are_not_counted() -> None:
    norm = block("layer_norm")
    network = Backbone(pointwise(), norm)
    copied = vanilla(network, generator := torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    noise = torch.randn(COUNT, *SHAPE[:3], generator=generator)
    moved = noise + 0.01 * torch.randn(COUNT, *SHAPE[:3], generator=generator)
    with torch.no_grad():
        change = copied.forward_features(noise) - copied.forward_features(moved)
    assert score(pointwise(), norm) == pytest.approx(math.log(change.abs().sum().item() / COUNT), abs=1e-5)


@pytest.mark.parametrize(
    "shortcut",
    [None, {"op": "channel_scale"}, {"op": "conv", "kernel_size": 1}],
    ids=["identity", "scaled", "projected"],
)
def test_a_branch_counts_without_its_shortcut(shortcut: Any) -> None:
    branch = block("residual", mixer=CONV, shortcut=shortcut)
    assert score(branch) == score(block(**CONV))


def test_a_layer_scale_goes_with_its_shortcut() -> None:
    branch = block("residual", mixer=CONV, scale=1e-6)
    assert score(branch) == score(block(**CONV))


def test_a_reducing_block_and_a_cell_count_without_what_goes_past_them() -> None:
    reducing = block("basic_block", width=4, stride=2)
    assert isinstance(reducing.first, nn.Module)
    assert isinstance(reducing.second, nn.Module)
    assert score(reducing) == score(reducing.first, reducing.second)
    skips = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|"
    without = skips.replace("skip_connect", "none")
    assert score(block("cell", width=4, genotype=skips)) == score(block("cell", width=4, genotype=without))
    # Through a wider cell the edge has a projection and a norm, which go as well.
    assert score(block("cell", width=8, genotype=skips)) == score(block("cell", width=8, genotype=without))


def test_the_only_edge_of_a_node_is_no_shortcut() -> None:
    alone = "|nor_conv_3x3~0|+|skip_connect~1|"
    assert score(block("cell", width=4, genotype=alone)) == score(block("cell", width=4, genotype="|nor_conv_3x3~0|"))


def test_a_part_that_a_branch_gives_zeros_for_keeps_its_way() -> None:
    waits = {"op": "sum", "ops": [{"op": "none"}, CONV]}
    branch = block("residual", mixer=waits)
    alone = score(block("residual", mixer={"op": "none"}))
    change = 0.01 * COUNT * 4 * 36 * math.sqrt(2 / math.pi)
    assert alone == pytest.approx(math.log(change / COUNT), abs=0.05)  # the input's own, as it passes
    assert score(branch) > score(block(**CONV))


def test_the_network_keeps_its_weights_and_shortcuts() -> None:
    network = Backbone(block("residual", mixer=CONV), nn.BatchNorm2d(4))
    before = copy.deepcopy(network.state_dict())
    x = torch.randn(2, *SHAPE[:3], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        out = network.eval().forward_features(x)
        PROXIES["zen"](Probed(network, Probe(images=x, labels=torch.zeros(2))))  # type: ignore[arg-type]
        assert torch.equal(network.eval().forward_features(x), out)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
