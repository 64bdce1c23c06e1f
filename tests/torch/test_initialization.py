"""Initial weights: what ops give where torch's defaults are worse, and how shared weights begin."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import nas
from nas.ops import Shape, make
from nas.ops.initialization import linear, open_branches

from ..small_space import small_space

SHAPE = Shape(96, 4, 4)
LINEAR = {
    "attention": {"head_dim": 32},
    "channel_attention": {},
    "classifier": {"num_classes": 200, "num_heads": 2},
    "feed_forward": {},
    "gated_feed_forward": {},
    "token_mixer": {"width": 64},
}


def of_kind(op: str, config: dict[str, Any], kind: type[nn.Module]) -> list[Any]:
    torch.manual_seed(0)
    found = [each for each in make({"op": op, **config}, SHAPE).modules() if isinstance(each, kind)]
    assert found
    return found


@pytest.mark.parametrize("op", LINEAR)
def test_linear_maps_are_uniform_by_both_widths_without_biases(op: str) -> None:
    for layer in of_kind(op, LINEAR[op], nn.Linear):
        bound = math.sqrt(6 / (layer.in_features + layer.out_features))
        assert 0.98 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert layer.bias is None or not layer.bias.any()


def test_a_shared_tensor_that_no_choice_has_whole_begins_as_the_larger_choice_does() -> None:
    supernet = nas.Supernet(small_space(), seed=1)
    torch.manual_seed(0)
    supernet._allocate("place", [partial(linear, 30, 500, bias=False), partial(linear, 400, 20, bias=False)])
    weight = dict(supernet.named_parameters())["place/weight"]
    assert weight.shape == (500, 400)
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 530), rel=0.05)
    assert abs(weight.mean().item()) < 0.001


NORMED = {"op": "conv_norm", "width": 96}
ENDING_IN_A_NORM = (
    NORMED,
    {"op": "serial", "ops": [{"op": "feed_forward"}, NORMED]},
    {"op": "attention", "head_dim": 32, "out_norm": {"op": "batch_norm"}},
    {"op": "conv_feed_forward", "out_norm": {"op": "batch_norm"}},
    {"op": "bottleneck", "width": 96, "mixer": {"op": "conv"}, "se_ratio": 0.25},
)


def branch(mixer: dict[str, Any], **others: Any) -> Any:
    torch.manual_seed(0)
    return make({"op": "residual", "mixer": mixer, **others}, SHAPE)


@pytest.mark.parametrize("mixer", ENDING_IN_A_NORM, ids=lambda each: each["op"])
def test_a_branch_that_ends_in_a_batch_norm_begins_as_its_shortcut(mixer: dict[str, Any]) -> None:
    x = torch.randn(2, *SHAPE.tensor)
    block = branch(mixer)
    assert torch.equal(block(x), x)
    open_branches(block)
    assert not torch.allclose(block(x), x)
    for others in ({"shortcut": {"op": "none"}}, {"scale": 0.5}):
        scales = [each.weight for each in branch(mixer, **others).modules() if isinstance(each, nn.BatchNorm2d)]
        assert all(scale.all() for scale in scales)


def test_a_branch_that_ends_in_anything_else_begins_open() -> None:
    for mixer in ({**NORMED, "activation": "relu"}, {"op": "mbconv", "width": 96}, {"op": "feed_forward"}):
        x = torch.randn(2, *SHAPE.tensor)
        assert not torch.allclose(branch(mixer)(x), x)
