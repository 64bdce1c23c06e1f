"""Parallel streams in one tensor: packed, mixed apart, told of one another."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nas.architecture import Architecture
from nas.costs import cost
from nas.errors import ArchitectureError
from nas.networks.network import build
from nas.ops import Shape, make
from nas.ops.streams import pack, streams_of, together, unpack

SHAPES = [Shape(4, 3, 3, 1), Shape(8, 2, 2, 1)]
BOTH = together(SHAPES)


def streams() -> list[torch.Tensor]:
    return [
        torch.randn((2, *shape.tensor), generator=torch.Generator().manual_seed(i)) for i, shape in enumerate(SHAPES)
    ]


def test_streams_come_out_of_one_tensor_as_they_went_in() -> None:
    packed = pack(streams())
    assert packed.shape == (2, *BOTH.tensor)
    assert streams_of(BOTH) == SHAPES
    for found, given in zip(unpack(packed, SHAPES), streams(), strict=True):
        assert found.equal(given)


def test_each_stream_has_an_op_of_its_own_and_none_waits() -> None:
    module = make({"op": "streams", "ops": [{"op": "none"}, {"op": "feed_forward"}]}, BOTH)
    one, other = unpack(module(pack(streams())), SHAPES)
    assert not one.any()
    torch.testing.assert_close(other, module.ops[1](streams()[1]))


def test_class_tokens_ask_the_other_streams_map() -> None:
    module = make({"op": "cross_streams", "num_heads": 2, "eps": 1e-6}, BOTH)
    found = unpack(module(pack(streams())), SHAPES)
    for i, (own, other) in enumerate(zip(streams(), reversed(streams()), strict=True)):
        assert found[i][:, :, 1:].equal(own[:, :, 1:])
        over, back, norm, attention = module.over[i], module.back[i], module.norms[i], module.attentions[i]
        token = over.linear(nn.functional.gelu(over.norm(own[:, :, 0, 0])))
        places = torch.cat([token[:, None], other[:, :, 1:, 0].transpose(1, 2)], 1)
        normed = nn.functional.layer_norm(places, places.shape[2:], norm.weight, norm.bias, 1e-6)
        q, k, v = attention.q.linear(normed[:, :1]), attention.k.linear(normed), attention.v.linear(normed)
        half = q.shape[2] // 2
        heads = [
            (q[..., part] @ k[..., part].transpose(1, 2) / half**0.5).softmax(2) @ v[..., part]
            for part in (slice(0, half), slice(half, 2 * half))
        ]
        token = token + attention.project.linear(torch.cat(heads, 2))[:, 0]
        expected = back.linear(nn.functional.gelu(back.norm(token)))
        torch.testing.assert_close(found[i][:, :, 0, 0], expected)


def test_logits_are_the_mean_over_streams() -> None:
    module = make({"op": "stream_classifier", "num_classes": 3}, BOTH)
    expected = sum(head.linear(x[:, :, 0, 0]) for head, x in zip(module.classifiers, streams(), strict=True)) / 2
    torch.testing.assert_close(module(pack(streams())), expected)


def test_an_op_for_one_stream_refuses_several() -> None:
    with pytest.raises(ArchitectureError, match="works on one stream, not on 2"):
        make({"op": "layer_norm"}, BOTH)
    with pytest.raises(ArchitectureError, match="1 ops for 2 streams"):
        make({"op": "streams", "ops": [{"op": "identity"}]}, BOTH)


def test_a_network_of_streams_costs_what_its_parts_cost() -> None:
    def stream(width: int, patch: int) -> dict[str, object]:
        conv = {"op": "conv", "width": width, "kernel_size": patch, "stride": patch, "padding": 0, "bias": False}
        return {"op": "serial", "ops": [conv, {"op": "class_token"}]}

    mixer = {"op": "streams", "ops": [{"op": "none"}, {"op": "feed_forward", "bias": False}]}
    architecture = Architecture.from_dict(
        {
            "format": 2,
            "input": {"resolution": 8},
            "stem": {"op": "streams", "ops": [stream(4, 2), stream(8, 4)]},
            "stages": [{"layers": [{"repeat": 2, "branches": [{"mixer": mixer}]}]}],
            "head": {"op": "stream_classifier", "num_classes": 5},
        }
    )
    found = cost(architecture)
    assert found.macs == 16 * 3 * 4 * 4 + 4 * 3 * 16 * 8 + 2 * 5 * 2 * 8 * 32 + 5 * (4 + 8)
    assert found.params == 3 * 4 * 4 + 4 + 3 * 16 * 8 + 8 + 2 * 2 * 8 * 32 + 5 * (4 + 1 + 8 + 1)
    assert build(architecture)(torch.zeros(2, 3, 8, 8)).shape == (2, 5)
