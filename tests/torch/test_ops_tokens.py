"""Attention among maps and tokens, and what only tokens do, beside computations by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from nas.errors import ArchitectureError
from nas.ops import Shape, make

MAP = Shape(8, 3, 2)
BESIDE = MAP._replace(tokens=2)


def random(shape: Shape, seed: int = 0) -> torch.Tensor:
    return torch.randn((2, *shape.tensor), generator=torch.Generator().manual_seed(seed))


def built(node: dict[str, Any], shape: Shape) -> Any:
    """An op of random weights, in eval mode."""
    module = make(node, shape).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module


def weights_of(q: torch.Tensor, k: torch.Tensor, scale: float = 0.5) -> torch.Tensor:
    return (q @ k.transpose(1, 2) * scale).softmax(2)


def applied(projected: Any, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, projected.linear.weight, projected.linear.bias)


def test_tokens_alone_ask_in_class_attention_and_the_map_stays() -> None:
    module = built({"op": "attention", "head_dim": 4, "position": "none", "query_source": "tokens"}, BESIDE)
    x = random(BESIDE)
    places = x[..., 0].transpose(1, 2)
    q, k, v = applied(module.q, places[:, :2]), applied(module.k, places), applied(module.v, places)
    heads = [weights_of(q[..., part], k[..., part]) @ v[..., part] for part in (slice(0, 4), slice(4, 8))]
    expected = applied(module.project, torch.cat(heads, 2)).transpose(1, 2)
    found = module(x)
    assert found.shape == x.shape
    torch.testing.assert_close(found[:, :, :2, 0], expected)
    assert found[:, :, 2:].equal(torch.zeros_like(x[:, :, 2:]))


def test_gated_heads_weigh_content_and_offsets() -> None:
    module = built({"op": "attention", "head_dim": 4, "position": "gated"}, MAP)
    x = random(MAP)
    places = x.flatten(2).transpose(1, 2)
    q, k, v = applied(module.q, places), applied(module.k, places), applied(module.v, places)
    heads = []
    for head in range(2):
        logits = torch.zeros(6, 6)
        for i in range(6):
            for j in range(6):
                dy, dx = j // 2 - i // 2, j % 2 - i % 2
                offsets = module.gated.offsets.weight[head]
                logits[i, j] = offsets @ torch.tensor([dx, dy, dx**2 + dy**2]).float()
        gate = module.gated.gate[head].sigmoid()
        part = slice(4 * head, 4 * head + 4)
        weights = (1 - gate) * weights_of(q[..., part], k[..., part]) + gate * logits.softmax(1)
        torch.testing.assert_close(weights.sum(2), torch.ones(2, 6))
        heads.append(weights @ v[..., part])
    expected = applied(module.project, torch.cat(heads, 2)).transpose(1, 2).unflatten(2, (3, 2))
    torch.testing.assert_close(module(x), expected)


def test_values_can_come_from_a_map_of_their_own_that_tokens_bypass() -> None:
    def strided(k: int) -> dict[str, Any]:
        return {"op": "apart", "map": {"op": "depthwise_conv", "kernel_size": k, "stride": 2, "bias": False}}

    node = {"op": "attention", "head_dim": 8, "position": "none", "scale_width": True}
    module = built({**node, "kv_reduce": strided(1), "value_map": strided(3)}, BESIDE)
    x = random(BESIDE)
    tokens, image = x[:, :, :2, 0], x[:, :, 2:, 0].unflatten(2, (3, 2))

    def seen(apart: Any, k: int) -> torch.Tensor:
        reduced = F.conv2d(image, apart.map.weight, None, 2, k // 2, groups=8)
        return torch.cat([tokens, reduced.flatten(2)], 2).transpose(1, 2)

    q = applied(module.q, x[..., 0].transpose(1, 2))
    k, v = applied(module.k, seen(module.kv_reduce, 1)), applied(module.v, seen(module.value_map, 3))
    mixed = weights_of(q, k, scale=8**-0.5) @ v
    torch.testing.assert_close(module(x)[..., 0], applied(module.project, mixed).transpose(1, 2))


def test_map_and_tokens_go_apart() -> None:
    module = built({"op": "apart", "map": {"op": "none"}, "tokens": {"op": "conv", "kernel_size": 1}}, BESIDE)
    found, x = module(random(BESIDE)), random(BESIDE)
    torch.testing.assert_close(found[:, :, :2], F.conv2d(x[:, :, :2], module.tokens.weight, module.tokens.bias))
    assert not found[:, :, 2:].any()
    pooled = built({"op": "apart", "map": {"op": "pool", "kind": "max", "stride": 2}}, BESIDE)
    assert pooled.shape == Shape(8, 2, 1, 2)
    assert pooled(x)[:, :, :2].equal(x[:, :, :2])


def test_sinusoids_alternate_and_stay_as_they_are() -> None:
    module = make({"op": "position", "kind": "sinusoid"}, BESIDE)
    table = module.embedding[..., 0]
    for place in range(8):
        for channel in range(8):
            angle = place / 10000 ** (2 * (channel // 2) / 8)
            expected = math.cos(angle) if channel % 2 else math.sin(angle)
            assert table[channel, place].item() == pytest.approx(expected, abs=1e-6)
    assert not module.embedding.requires_grad
    larger = make({"op": "position", "kind": "sinusoid"}, Shape(8, 5, 5, 2))
    assert larger.resized("embedding", module.embedding.detach()).equal(larger.embedding)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"op": "apart"}, "insert them before with class_token"),
        ({"op": "attention", "head_dim": 4, "query_source": "tokens", "position": "none"}, "needs tokens"),
        ({"op": "attention", "head_dim": 4, "query_source": "some"}, "query_source must be one of"),
        ({"op": "position", "kind": "fourier"}, "kind must be one of"),
        ({"op": "cross_streams", "num_heads": 2}, "there is one stream"),
        ({"op": "stream_classifier"}, "there are no streams"),
        ({"op": "unfold", "kernel_size": 9}, "does not fit a 3x2 map"),
        ({"op": "token_mixer", "features": 99}, "features (=99) must be at most width (=64)"),
    ],
)
def test_what_needs_tokens_or_streams_says_so(node: dict[str, Any], words: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        make(node, MAP)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
