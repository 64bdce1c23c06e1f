"""Patches as channels and T2T-ViT's mixers, beside computations by hand."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from nas.ops import Shape, make

SHAPE = Shape(5, 3, 2)


def images(shape: Shape = SHAPE) -> torch.Tensor:
    return torch.randn((2, *shape.tensor), generator=torch.Generator().manual_seed(0))


def test_neighbours_become_channels_of_their_own() -> None:
    shape = Shape(2, 4, 4)
    x = images(shape)
    found = make({"op": "unfold"}, shape)(x)
    assert found.shape == (2, 8, 2, 2)
    for channel in range(8):
        c, row, column = channel // 4, channel // 2 % 2, channel % 2
        assert found[:, channel].equal(x[:, c, row::2, column::2])


def test_overlapping_patches_are_padded_with_zeros() -> None:
    found = make({"op": "unfold", "kernel_size": 3, "stride": 2, "padding": 1}, Shape(1, 4, 4))(torch.ones(1, 1, 4, 4))
    assert found.shape == (1, 9, 2, 2)
    assert found[0, :, 0, 0].tolist() == [0, 0, 0, 0, 1, 1, 0, 1, 1]


def test_softmax_mixer_is_attention_with_a_shortcut_from_its_values() -> None:
    module = make({"op": "token_mixer", "width": 4, "kind": "softmax"}, SHAPE)
    x = images()
    places = x.flatten(2).transpose(1, 2)
    q, k, v = (places @ linear.weight.T for linear in (module.q, module.k, module.v))
    mixed = (q @ k.transpose(1, 2) / 5**0.5).softmax(2) @ v
    expected = v + F.linear(mixed, module.project.weight, module.project.bias)
    torch.testing.assert_close(module(x), expected.transpose(1, 2).unflatten(2, (3, 2)))


def test_performer_weighs_by_products_of_positive_features() -> None:
    module = make({"op": "token_mixer", "width": 4, "features": 3}, SHAPE)
    x = images()
    places = x.flatten(2).transpose(1, 2)
    q, k, v = (F.linear(places, linear.weight, linear.bias) for linear in (module.q, module.k, module.v))
    weights = torch.zeros(2, 6, 6)
    for i in range(6):
        for j in range(6):
            for w in module.directions:
                one, other = (each @ w - each.square().sum(1) / 2 for each in (q[:, i], k[:, j]))
                weights[:, i, j] += (one + other).exp() / 3
    mixed = weights / (weights.sum(2, keepdim=True) + 1e-8) @ v
    expected = v + F.linear(mixed, module.project.weight, module.project.bias)
    torch.testing.assert_close(module(x), expected.transpose(1, 2).unflatten(2, (3, 2)))
    assert not module.directions.requires_grad


def test_directions_are_orthogonal_and_their_kernel_is_near_that_of_softmax() -> None:
    torch.manual_seed(0)
    module = make({"op": "token_mixer", "width": 64, "features": 64}, SHAPE)
    torch.testing.assert_close(module.directions @ module.directions.T, 64 * torch.eye(64), rtol=1e-4, atol=1e-3)


def test_standardized_weights_have_mean_zero_and_variance_one() -> None:
    module = make({"op": "standard_conv", "width": 3, "stride": 2}, Shape(5, 4, 4))
    weight = module.weight.detach()
    weight = torch.stack([(each - each.mean()) / each.std(correction=0) for each in weight])
    # TensorFlow's "same": the odd row and column of padding lie at the end.
    expected = F.conv2d(F.pad(images(Shape(5, 4, 4)), (0, 1, 0, 1)), weight, stride=2)
    torch.testing.assert_close(module(images(Shape(5, 4, 4))), expected, rtol=1e-4, atol=1e-5)
