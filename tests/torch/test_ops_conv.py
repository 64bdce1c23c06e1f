"""The convolution side by hand: padding, bottleneck, feed-forward branches, hourglasses, deformable merging."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas.architecture import BlockConfig
from nas.errors import ArchitectureError
from nas.ops import Shape, make, normalize_block


def built(node: dict[str, Any], shape: Shape) -> Any:
    """An op with random weights, BatchNorm statistics included, in eval mode."""
    module = make(normalize_block(BlockConfig.from_dict(node), "test").to_dict(), shape).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator) * 0.3
                tensor.copy_(noise.abs() + 0.5 if name.endswith("running_var") else noise)
    return module


def images(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def normed(x: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
    """BatchNorm in eval mode by its definition."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps) ** 0.5
    return (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]


@pytest.mark.parametrize(
    ("size", "kernel", "before", "after"), [(8, 3, 0, 1), (9, 3, 1, 1), (8, 5, 1, 2), (7, 5, 2, 2)]
)
def test_same_padding_puts_an_odd_rest_at_the_end(size: int, kernel: int, before: int, after: int) -> None:
    node = {"op": "conv_stem", "width": 4, "kernel_size": kernel, "padding": "same", "activation": "none"}
    stem = built(node, Shape(3, size, size))
    x = images(2, 3, size, size)
    first = F.conv2d(F.pad(x, (before, after, before, after)), stem.first.weight, stem.first.bias, stride=2)
    expected = F.conv2d(normed(first, stem.norm), stem.second.weight, stem.second.bias, padding=kernel // 2)
    torch.testing.assert_close(stem(x), expected)
    assert stem.shape[:3] == (4, -(-size // 2), -(-size // 2))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "after"),
    [(8, 3, 2, 0, 1), (9, 3, 2, 1, 1), (8, 5, 2, 1, 2), (9, 3, 1, 1, 1), (8, 2, 1, 0, 1), (7, 1, 2, 0, 0)],
)
def test_a_plain_convolution_pads_same_too(size: int, kernel: int, stride: int, before: int, after: int) -> None:
    node = {"op": "conv", "width": 4, "kernel_size": kernel, "stride": stride, "padding": "same"}
    conv, x = built(node, Shape(3, size, size)), images(2, 3, size, size)
    expected = F.conv2d(F.pad(x, (before, after, before, after)), conv.weight, conv.bias, stride)
    torch.testing.assert_close(conv(x), expected)
    assert conv.shape[:3] == (4, *expected.shape[2:]) == (4, -(-size // stride), -(-size // stride))


def test_same_padding_counts_dilation() -> None:
    node = {"op": "conv", "width": 4, "stride": 2, "dilation": 2, "padding": "same"}
    conv, x = built(node, Shape(3, 8, 8)), images(2, 3, 8, 8)
    torch.testing.assert_close(conv(x), F.conv2d(F.pad(x, (1, 2, 1, 2)), conv.weight, conv.bias, 2, dilation=2))


def test_bottleneck_narrows_encodes_mixes_and_widens() -> None:
    node = {"op": "bottleneck", "width": 8, "mixer": {"op": "conv", "bias": False}, "stride": 2, "se_ratio": 0.25}
    block = built(node, Shape(6, 9, 9))
    x = images(2, 6, 9, 9)
    y = F.conv2d(x, block.reduce.weight)
    assert y.shape[1] == 2
    y = F.conv2d(y, block.depthwise.weight, block.depthwise.bias, 2, 1, groups=2)
    y = F.conv2d(normed(y, block.norm1).relu(), block.mixer.weight, padding=1)
    y = normed(F.conv2d(normed(y, block.norm2).relu(), block.project.weight), block.norm3)
    gate = block.squeeze_excite
    pooled = y.mean((2, 3), keepdim=True)
    squeezed = F.conv2d(pooled, gate.squeeze.weight, gate.squeeze.bias).relu()
    y = y * F.conv2d(squeezed, gate.excite.weight, gate.excite.bias).sigmoid()
    torch.testing.assert_close(block(x), y)


def test_bottleneck_takes_attention_at_its_narrow_width() -> None:
    mixer = {"op": "attention", "head_dim": 2, "position": "none", "qkv_bias": False, "project": False}
    block = built({"op": "bottleneck", "width": 16, "mixer": mixer}, Shape(16, 4, 4))
    assert block.mixer.q.linear.weight.shape == (4, 4)
    assert sum(p.numel() for p in block.mixer.parameters()) == 3 * 16


def test_conv_shortcut_is_dense_where_it_downsamples_and_nothing_where_nothing_changes() -> None:
    x = images(2, 4, 8, 8)
    down = built({"op": "conv_shortcut", "width": 6, "stride": 2}, Shape(4, 8, 8))
    expected = normed(F.conv2d(x, down.conv.weight, stride=2, padding=1), down.norm).relu()
    torch.testing.assert_close(down(x), expected)
    wider = built({"op": "conv_shortcut", "width": 6}, Shape(4, 8, 8))
    assert wider.conv.weight.shape == (6, 4, 1, 1)
    assert built({"op": "conv_shortcut", "width": 4}, Shape(4, 8, 8))(x).equal(x)


def test_pooled_shortcut_with_a_norm_has_no_bias() -> None:
    shortcut = built({"op": "pool_project", "width": 6, "norm": {"op": "batch_norm"}}, Shape(4, 8, 8))
    assert shortcut.project.bias is None
    x = images(2, 4, 8, 8)
    expected = normed(F.conv2d(F.avg_pool2d(x, 2), shortcut.project.weight), shortcut.norm)
    torch.testing.assert_close(shortcut(x), expected)


def test_feed_forward_with_a_middle_normalises_and_activates_twice() -> None:
    norm = {"op": "batch_norm"}
    middle = {"op": "depthwise_conv", "kernel_size": 3, "stride": 2}
    node = {"op": "conv_feed_forward", "expand_ratio": 2, "norm": norm, "middle": middle, "out_norm": norm, "width": 6}
    branch = built(node, Shape(4, 8, 8))
    x = images(2, 4, 8, 8)
    y = F.gelu(normed(F.conv2d(x, branch.expand.weight, branch.expand.bias), branch.norm))
    y = F.conv2d(y, branch.middle.weight, branch.middle.bias, 2, 1, groups=8)
    y = F.gelu(normed(y, branch.middle_norm))
    expected = normed(F.conv2d(y, branch.project.weight, branch.project.bias), branch.out_norm)
    torch.testing.assert_close(branch(x), expected)


def test_fusion_joins_the_inner_result_and_what_it_lets_through() -> None:
    inner = {"op": "serial", "ops": [{"op": "pool", "kernel_size": 2, "stride": 2, "padding": 0}, {"op": "upsample"}]}
    block = built({"op": "gated_fusion", "inner": inner}, Shape(4, 6, 6))
    x = images(2, 4, 6, 6)
    y = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")
    gate = F.hardsigmoid(normed(F.conv2d(y, block.project.weight), block.norm))
    expected = normed(F.conv2d(torch.cat([y, gate * x], 1), block.fuse.weight), block.fuse_norm)
    torch.testing.assert_close(block(x), expected)


def test_fusion_refuses_an_inner_block_that_does_not_come_back() -> None:
    with pytest.raises(ArchitectureError, match=r"must give \(4, 6, 6\) .* not \(4, 3, 3\)"):
        built({"op": "gated_fusion", "inner": {"op": "pool", "stride": 2}}, Shape(4, 6, 6))


def test_transposed_convolution_makes_each_position_a_square() -> None:
    up = built({"op": "transposed_conv", "scale_factor": 3}, Shape(2, 2, 2))
    x = images(1, 2, 2, 2)
    found = up(x)
    for c in range(2):
        square = x[0, c, 1, 0] * up.weight[c, 0] + up.bias[c]
        torch.testing.assert_close(found[0, c, 3:6, 0:3], square)


def test_merging_without_offsets_is_a_convolution() -> None:
    merge = make({"op": "deformable_merge", "width": 5}, Shape(3, 6, 4)).eval()
    x = images(2, 3, 6, 4)
    torch.testing.assert_close(merge(x), F.conv2d(x, merge.conv.weight, merge.conv.bias, stride=2))


def test_merging_reads_between_positions_and_zero_beyond_the_edge() -> None:
    merge = built({"op": "deformable_merge", "width": 1, "bias": False}, Shape(1, 4, 4))
    x = images(1, 1, 4, 4)
    moves = torch.tensor([[0.0, 0.5], [-1.0, 0.0], [0.25, 1.0], [0.0, 9.0]])  # (dy, dx) of each position of a patch
    with torch.no_grad():
        merge.offset.weight.zero_()
        merge.offset.bias.copy_(moves.flatten())
        merge.conv.weight.copy_(torch.tensor([1.0, 10.0, 100.0, 1000.0]).reshape(1, 1, 2, 2))
    m = x[0, 0]
    # The patch whose first position is (2, 0).
    first = (m[2, 0] + m[2, 1]) / 2
    second = m[1, 1]
    third = m[3, 1]  # a quarter of the way beyond the last row
    expected = first + 10 * second + 100 * 0.75 * third
    torch.testing.assert_close(merge(x)[0, 0, 1, 0], expected)
