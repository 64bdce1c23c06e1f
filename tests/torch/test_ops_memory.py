"""Memories: what blocks leave for later ones, and attention that asks them, by hand."""

from __future__ import annotations

import torch

from nas.networks.network import resize_tables
from nas.ops import Shape, make

from .test_ops_channel_attention import images, moved


def test_a_memory_is_a_coarse_copy_after_the_older_ones() -> None:
    shape = Shape(3, 5, 6, tokens=2)
    module, x = moved({"op": "remember", "kernel_size": 3, "stride": 4}, shape), images(shape)
    places = x[:, :, 2:, 0].unflatten(2, (5, 6))
    new = module.merge(places)
    assert new.shape == (2, 3, 2, 2)
    assert module.shape == (3, 5, 6, 6, ())
    expected = torch.cat([x[:, :, :2], new.flatten(2)[..., None], x[:, :, 2:]], 2)
    assert torch.equal(module(x), expected)


def test_the_map_asks_memories_that_stay_as_they_are() -> None:
    shape = Shape(4, 2, 3, tokens=2)
    node = {"op": "attention", "head_dim": 2, "position": "distance", "query_source": "map", "token_bias": True}
    module, x = moved(node, shape), images(shape)
    flat = x[..., 0].transpose(1, 2)
    q, k, v = (m.linear(flat).unflatten(2, (2, 2)) for m in (module.q, module.k, module.v))
    mixed = torch.zeros(2, 6, 4, dtype=torch.float64)
    for head in range(2):
        for i in range(6):
            logits = torch.einsum("bc,bnc->bn", q[:, i + 2, head], k[:, :, head]) * 2**-0.5
            logits[:, :2] += module.token_bias.heed[head]
            for j in range(6):
                logits[:, j + 2] += module.bias.distances[head, abs(i // 3 - j // 3), abs(i % 3 - j % 3)]
            mixed[:, i, 2 * head : 2 * head + 2] = torch.einsum("bn,bnc->bc", logits.softmax(1), v[:, :, head])
    expected = module.project.linear(mixed).transpose(1, 2)
    found = module(x)
    assert found.shape == x.shape
    torch.testing.assert_close(found[:, :, 2:, 0], expected)
    assert not found[:, :, :2].any()


def test_factors_and_biases_fit_another_resolution() -> None:
    node = {
        "op": "serial",
        "ops": (
            {"op": "remember", "stride": 2},
            {"op": "apart", "tokens": {"op": "position_scale"}},
            {"op": "attention", "head_dim": 2, "position": "none", "query_source": "map", "token_bias": True},
        ),
    }
    small, large = moved(node, Shape(4, 4, 4)), moved(node, Shape(4, 6, 6))
    state = resize_tables(small.state_dict(), large)
    large.load_state_dict(state)
    factors = state["1.tokens.factors"]
    assert factors.shape == (9, 1)
    assert torch.equal(factors[0], small.state_dict()["1.tokens.factors"][0])
    assert make(node, Shape(4, 6, 6)).shape == (4, 6, 6, 9, ())
