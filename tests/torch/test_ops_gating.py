"""Gates, waves and oversize convolutions by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from nas.errors import ArchitectureError
from nas.ops import Shape, make

from .test_ops_channel_attention import images, moved


def test_a_gate_multiplies_what_it_lets_through() -> None:
    shape = Shape(4, 3, 2)
    module, x = moved({"op": "gated_feed_forward", "expand_ratio": 1.5}, shape), images(shape)
    for row in range(3):
        for column in range(2):
            at = x[:, :, row, column]
            hidden = module.value(at) * F.gelu(module.gate(at))
            torch.testing.assert_close(module(x)[:, :, row, column], module.project(hidden))


def test_a_wave_adds_the_strongest_channel_and_turns_pairs() -> None:
    shape = Shape(3, 2, 2)
    module, x = moved({"op": "wave", "expand_ratio": 2}, shape), images(shape)
    found = module(x)
    for b in range(2):
        for row in range(2):
            for column in range(2):
                at = x[b, :, row, column]
                strongest = int(at.argmax())
                phase = F.gelu(module.phase.weight[:, :, 0, 0] @ at + module.phase.bias)
                amplitude = module.amplitude.weight[:, :, 0, 0] @ at + module.amplitude.bias
                wave = amplitude * phase + amplitude[strongest] * phase[strongest]
                turned = torch.view_as_complex(wave.unflatten(0, (3, 2)).detach().contiguous())
                turned = turned * torch.view_as_complex(module.turn.detach())
                expected = torch.view_as_real(turned).flatten()
                torch.testing.assert_close(found[b, :, row, column].detach(), expected)


def test_an_oversize_convolution_sees_all_from_everywhere() -> None:
    shape = Shape(2, 4, 3)
    module, x = moved({"op": "oversize_conv"}, shape), images(shape)
    assert module.columns.weight.shape == (2, 1, 7, 1)
    assert module.rows.weight.shape == (2, 1, 1, 5)
    expected = torch.zeros_like(x)
    for c in range(2):
        for row in range(4):
            for column in range(3):
                for i in range(4):
                    for j in range(3):
                        along = (
                            module.columns.weight[c, 0, i - row + 3, 0] * module.rows.weight[c, 0, 0, j - column + 2]
                        )
                        expected[:, c, row, column] += along * x[:, c, i, j]
    torch.testing.assert_close(module(x), expected)


def test_an_oversize_kernel_is_stretched_for_another_map() -> None:
    small, large = (moved({"op": "oversize_conv"}, Shape(2, n, n)) for n in (3, 5))
    stretched = large.columns.resized("weight", small.columns.weight)
    assert stretched.shape == large.columns.weight.shape
    # Five steps over nine places: every second place is one of before.
    torch.testing.assert_close(stretched[:, :, ::2], small.columns.weight)


def test_less_mean_leaves_what_differs_from_the_mean() -> None:
    x = images(Shape(3, 4, 5))
    found = make({"op": "less_mean"}, Shape(3, 4, 5))(x)
    torch.testing.assert_close(found.mean((2, 3)), torch.zeros(2, 3, dtype=torch.float64))
    torch.testing.assert_close(found - x, -x.mean((2, 3), keepdim=True).expand_as(x))


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"op": "wave", "expand_ratio": 0.4}, "no less than channels (=5)"),
        ({"op": "wave", "expand_ratio": 1}, "(=5) must be even"),
        ({"op": "gated_feed_forward", "expand_ratio": 1.5}, "whole number of channels, not 7.5"),
        ({"op": "oversize_conv", "kernel_size": 4}, "kernel_size (=4) must be odd"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_numbers(node: dict[str, Any], words: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        make(node, Shape(5, 4, 4))
    assert words in str(caught.value)
