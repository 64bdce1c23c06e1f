"""Attention's options by hand: who attends to whom, and where from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from nas.errors import ArchitectureError
from nas.ops import Shape, make


def built(shape: Shape, **options: Any) -> Any:
    """Attention without biases of its linear maps, with random weights."""
    module = make({"op": "attention", "head_dim": 2, "qkv_bias": False, "out_bias": False, **options}, shape).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


def images(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


HALVED = {"op": "pool", "kernel_size": 2, "stride": 2, "padding": 0}
WINDOWS = {"attention_scope": "window", "window_size": 4}


def attended(module: Any, asked: torch.Tensor, given: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Softmax attention of one head among (N, C) positions, projected."""
    logits = module.q.linear(asked) @ module.k.linear(given).T / 2**0.5
    if bias is not None:
        logits = logits + bias
    return module.project.linear(logits.softmax(1) @ module.v.linear(given))


def test_interleaved_positions_attend_to_the_same_place_of_every_patch() -> None:
    module = built(Shape(2, 6, 6), attention_scope="interleaved", window_size=2, position="none")
    x = images(1, 2, 6, 6)
    found = module(x)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        places = x[0, :, row::2, column::2].flatten(1).T
        expected = attended(module, places, places).T.unflatten(1, (3, 3))
        torch.testing.assert_close(found[0, :, row::2, column::2], expected)


def test_interleaved_positions_of_a_single_patch_attend_to_themselves_alone() -> None:
    """As MobileViT's of its last stage do at 64 pixels."""
    module = built(Shape(2, 2, 2), attention_scope="interleaved", window_size=2, position="none")
    x = images(1, 2, 2, 2)
    expected = module.project.linear(module.v.linear(x[0].flatten(1).T)).T.unflatten(1, (2, 2))
    torch.testing.assert_close(module(x)[0], expected)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kv_reduce": HALVED}, "position 'relative' needs the keys of the whole map; give position none"),
        ({"kv_reduce": HALVED, "position": "none", **WINDOWS}, "windows need queries, keys and values of the whole"),
        ({"query_stride": 2, "position": "none", **WINDOWS}, "windows need queries, keys and values of the whole"),
        ({"value_ratio": 1.25}, "head_dim x value_ratio must be a whole number of channels, not 2.5"),
    ],
)
def test_options_that_exclude_one_another_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ArchitectureError, match=said):
        built(Shape(2, 8, 8), **given)


def test_interleaved_refuses_a_map_that_does_not_divide() -> None:
    with pytest.raises(ArchitectureError, match="7x7 map does not divide into windows of 2x2"):
        built(Shape(2, 7, 7), attention_scope="interleaved", window_size=2)


def test_strided_queries_have_the_distances_of_where_they_ask() -> None:
    """Both ways to ask at every second position, on an odd map: a stride, and a block with a stride."""
    x = images(1, 2, 5, 5)
    for options in ({"query_stride": 2}, {"query_map": {"op": "pool", "kernel_size": 1, "stride": 2, "padding": 0}}):
        module = built(Shape(2, 5, 5), position="distance", **options)
        asked = [(i, j) for i in range(0, 5, 2) for j in range(0, 5, 2)]
        table = module.bias.distances[0]
        bias = torch.stack(
            [torch.stack([table[abs(i - k), abs(j - m)] for k in range(5) for m in range(5)]) for i, j in asked]
        )
        expected = attended(module, x[0, :, ::2, ::2].flatten(1).T, x[0].flatten(1).T, bias)
        torch.testing.assert_close(module(x)[0], expected.T.unflatten(1, (3, 3)))
        assert module.shape[:3] == (2, 3, 3)


def test_values_are_changed_before_they_are_weighed() -> None:
    block = {"op": "depthwise_conv", "kernel_size": 3, "bias": False}
    module = built(Shape(2, 4, 4), position="none", value_block=block)
    x = images(1, 2, 4, 4)
    tokens = x[0].flatten(1).T
    values = module.v.linear(tokens).T.unflatten(1, (4, 4))
    values = F.conv2d(values[None], module.value_block.weight, padding=1, groups=2)[0].flatten(1).T
    weights = (module.q.linear(tokens) @ module.k.linear(tokens).T / 2**0.5).softmax(1)
    expected = module.project.linear(weights @ values).T.unflatten(1, (4, 4))
    torch.testing.assert_close(module(x)[0], expected)


def test_talking_heads_mix_before_and_after_the_softmax() -> None:
    module = built(Shape(4, 2, 2), num_heads=2, position="none", talking_heads=True)
    x = images(1, 4, 2, 2)
    tokens = x[0].flatten(1).T
    q, k, v = (each.linear(tokens).unflatten(1, (2, 2)).transpose(0, 1) for each in (module.q, module.k, module.v))
    logits = q @ k.transpose(1, 2) / 2**0.5
    logits = torch.einsum("gh,hij->gij", module.before.weight, logits) + module.before.bias[:, None, None]
    weights = logits.softmax(2)
    weights = torch.einsum("gh,hij->gij", module.after.weight, weights) + module.after.bias[:, None, None]
    expected = module.project.linear((weights @ v).transpose(0, 1).flatten(1)).T.unflatten(1, (2, 2))
    torch.testing.assert_close(module(x)[0], expected)


@pytest.mark.parametrize("scope", ["window", "shifted", "grid"])
def test_windows_are_exported_for_any_batch(scope: str) -> None:
    module = built(Shape(2, 4, 4), attention_scope=scope, window_size=2)
    batch = torch.export.Dim("batch")
    exported = torch.export.export(module, (images(2, 2, 4, 4),), dynamic_shapes=({0: batch},)).module()
    torch.testing.assert_close(exported(images(3, 2, 4, 4)), module(images(3, 2, 4, 4)))
