"""Channel attention, cascades and Fourier positions by hand, entry by entry."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from nas.errors import ArchitectureError
from nas.ops import Shape, make


def moved(node: dict[str, Any], shape: Shape) -> Any:
    module = make(node, shape).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3)
    return module


def images(shape: Shape) -> torch.Tensor:
    return torch.randn(2, *shape.tensor, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_channels_attend_to_the_channels_of_their_head() -> None:
    shape = Shape(6, 3, 2)
    module, x = moved({"op": "channel_attention", "num_heads": 2}, shape), images(shape)
    tokens = x.flatten(2).transpose(1, 2)
    q, k, v = (F.linear(tokens, m.linear.weight, m.linear.bias) for m in (module.q, module.k, module.v))
    mixed = torch.zeros_like(tokens)
    for b in range(2):
        for head in range(2):
            channels = range(3 * head, 3 * head + 3)
            for i in channels:
                logits = torch.stack(
                    [
                        q[b, :, i] @ k[b, :, j] / (q[b, :, i].norm() * k[b, :, j].norm()) * module.temperature[head]
                        for j in channels
                    ]
                )
                for weight, j in zip(logits.softmax(0), channels, strict=True):
                    mixed[b, :, i] += weight * v[b, :, j]
    expected = module.project(mixed).transpose(1, 2).unflatten(2, (3, 2))
    torch.testing.assert_close(module(x), expected)


def test_each_group_of_a_cascade_adds_to_the_next() -> None:
    shape = Shape(8, 5, 4)
    module, x = moved({"op": "cascade_conv", "groups": 3}, shape), images(shape)
    # Eight channels in three groups: 3, 3 and 2.
    first = module.convs[0](x[:, :3])
    second = module.convs[1](x[:, 3:6] + first)
    assert torch.equal(module(x), torch.cat([first, second, x[:, 6:]], 1))


def test_fourier_features_are_sines_and_cosines_of_the_place() -> None:
    shape = Shape(3, 2, 4)
    module, x = moved({"op": "fourier_position", "waves": 4, "temperature": 100}, shape), images(shape)
    features = torch.zeros(8, 2, 4, dtype=torch.float64)
    for row in range(2):
        for column in range(4):
            for at, (place, size) in enumerate(((row, 2), (column, 4))):
                for wave in range(4):
                    angle = 2 * math.pi * (place + 1) / (size + 1e-6) / 100 ** (wave // 2 * 2 / 4)
                    features[4 * at + wave, row, column] = math.cos(angle) if wave % 2 else math.sin(angle)
    expected = x + module.project(features[None])
    torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"op": "channel_attention", "num_heads": 3}, "num_heads=3 does not divide channels=8: use 2 or 4"),
        ({"op": "cascade_conv", "groups": 1}, "groups (=1) must be 2 or more"),
        ({"op": "cascade_conv", "groups": 7}, "8 channels do not make 7 groups"),
        ({"op": "fourier_position", "waves": 5}, "waves (=5) must be even"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_numbers(node: dict[str, Any], words: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        make(node, Shape(8, 4, 4))
    assert words in str(caught.value)
