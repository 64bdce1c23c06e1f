"""Every op: it builds, its shape and counts are right, every parameter matters, a prefix is a smaller op.

An op that joins the library has to join `cases.OPS_VARIED` too.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas.architecture import BlockConfig
from nas.costs.counter import count
from nas.errors import ArchitectureError
from nas.ops import OPS, Shape, make, normalize_block
from nas.ops.initialization import linear
from nas.ops.positions import RelativeBias
from nas.ops.streams import together

from .cases import CHANNELS, OPS_VARIED, counted_by_hooks
from .op_cases import With

SHAPE = Shape(CHANNELS, 10, 10)


STREAMS = together([SHAPE._replace(tokens=1), Shape(2 * CHANNELS, 6, 6, 1)])


def tokened(op: str, name: str | None = None) -> Shape:
    """The input's shape: an op, or the case of a parameter, about tokens or streams gets some."""
    if getattr(OPS[op], "takes_streams", False) and "stream" in op:
        return SHAPE if op == "streams" else STREAMS
    change = OPS_VARIED[op][1][name] if name else None
    tokens = change.tokens if isinstance(change, With) else 0
    own = {"apart": 2, "carrier_propagation": 4, "classifier": 2, "drop_tokens": 2}
    return SHAPE._replace(tokens=tokens or own.get(op, 0))


def images(shape: Shape = SHAPE, batch: int = 2) -> torch.Tensor:
    return torch.randn((batch, *shape.tensor), generator=torch.Generator().manual_seed(0))


def built(op: str, config: dict[str, Any], shape: Shape = SHAPE) -> Any:
    """An op whose weights depend on their shapes alone, norms' included."""
    block = normalize_block(BlockConfig.from_dict({"op": op, **config}), "test")
    module = make(block.to_dict(), shape)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module


def varied(op: str, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two configs that differ in one parameter alone."""
    config, changes = OPS_VARIED[op]
    change = changes[name]
    if isinstance(change, With):
        return config | change.base, config | change.base | {name: change.value}
    return config, config | {name: change}


def test_every_op_has_a_case_for_every_parameter() -> None:
    assert set(OPS_VARIED) == set(OPS)
    for name, (_, changes) in OPS_VARIED.items():
        assert set(changes) == {field.name for field in dataclasses.fields(OPS[name].Config)}, name


@pytest.mark.parametrize("op", OPS_VARIED)
def test_shape_and_counts_equal_an_independent_count(op: str) -> None:
    config, changes = OPS_VARIED[op]
    plain = {key: value for key, value in changes.items() if not isinstance(value, With)}
    draws = [(config, tokened(op)), *((varied(op, name)[1], tokened(op, name)) for name in changes)]
    if op not in ("attention", "conv", "conv_norm", "pool"):  # of their options not all go together
        for i in range(6):
            rng = random.Random(i)
            drawn = config | {name: value for name, value in plain.items() if rng.random() < i / 5}
            draws.append((drawn, tokened(op)))
    for drawn, shape in draws:
        module = built(op, drawn, shape)
        macs, params, out = counted_by_hooks(module, images(shape))
        if op == "none":
            continue
        assert out.shape == (2, *(module.shape[:1] if "classifier" in op else module.shape.tensor))
        assert out.isfinite().all()
        with torch.device("meta"):
            on_meta = make({"op": op, **drawn}, shape)
        assert count(on_meta, shape)[:2] == (macs, params), drawn


@pytest.mark.parametrize("op", OPS_VARIED)
def test_without_gradients_the_output_is_the_same_and_the_input_left_alone(op: str) -> None:
    """Attention is fused then, and activations work in place."""
    config, changes = OPS_VARIED[op]
    draws = [(config, tokened(op)), *((varied(op, name)[1], tokened(op, name)) for name in changes)]
    for drawn, shape in draws:
        module, x = built(op, drawn, shape).eval(), images(shape).contiguous(memory_format=torch.channels_last)
        expected, before = module(x), x.clone()
        with torch.no_grad():
            found = module(x)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(x, before), drawn


def test_a_linear_map_of_a_batch_of_maps_is_that_of_each() -> None:
    layer, x = linear(6, 5), images(Shape(3, 4, 6), batch=3)
    upstream = images(Shape(3, 4, 5), batch=3)
    expected = F.linear(x, layer.weight, layer.bias)
    weight, bias = torch.autograd.grad(expected, [layer.weight, layer.bias], upstream)
    found = layer(x)
    torch.testing.assert_close(found, expected)
    for gradient, wanted in zip(
        torch.autograd.grad(found, [layer.weight, layer.bias], upstream), (weight, bias), strict=True
    ):
        torch.testing.assert_close(gradient, wanted)


VARIATIONS = [(op, name) for op, (_, changes) in OPS_VARIED.items() for name in changes]


@pytest.mark.parametrize(("op", "name"), VARIATIONS, ids=[f"{op}-{name}" for op, name in VARIATIONS])
def test_every_parameter_changes_the_model(op: str, name: str) -> None:
    figures = []
    x = images(tokened(op, name))
    for module in (built(op, config, tokened(op, name)) for config in varied(op, name)):
        module.train()(x)  # so that a running average has moved
        macs, params, out = counted_by_hooks(module.eval(), x)
        figures.append((macs, params, out))
    first, second = figures
    assert first[:2] != second[:2] or first[2].shape != second[2].shape or not torch.allclose(first[2], second[2])


@pytest.mark.parametrize("op", OPS_VARIED)
def test_parameters_at_their_default_are_not_spelt_out(op: str) -> None:
    config, _ = OPS_VARIED[op]
    defaults = {f.name: f.default for f in dataclasses.fields(OPS[op].Config) if f.default is not dataclasses.MISSING}
    spelt_out = normalize_block(BlockConfig.from_dict({"op": op, **defaults, **config}), "test")
    assert spelt_out == normalize_block(BlockConfig.from_dict({"op": op, **config}), "test")


# (op, the small op's config, the large op's, input channels of each): the large one holds the small one as a part.
NESTED = [
    ("mbconv", {"width": 8, "kernel_size": 3, "expand_ratio": 2}, {"width": 16, "kernel_size": 7}, (4, 12)),
    ("mbconv", {"width": 8, "stride": 2}, {"width": 8, "stride": 2, "kernel_size": 5}, (8, 8)),
    (
        "mbconv",
        {"width": 8, "stride": 2, "stride_in": "depthwise"},
        {"width": 12, "stride": 2, "stride_in": "depthwise", "kernel_size": 5},
        (4, 8),
    ),
    ("attention", {"width": 8, "head_dim": 4}, {"width": 16, "head_dim": 4}, (4, 12)),
    ("attention", {"width": 4, "head_dim": 4, "stride": 2}, {"width": 12, "head_dim": 4, "stride": 2}, (4, 4)),
    ("attention", {"width": 8, "head_dim": 4, "position": "none"}, {"width": 12, "head_dim": 4, "position": "none"},
     (4, 8)),
    ("attention", {"width": 8, "head_dim": 4, "position": "gated"}, {"width": 12, "head_dim": 4, "position": "gated"},
     (4, 8)),
    ("feed_forward", {"expand_ratio": 2}, {"expand_ratio": 4}, (4, 12)),
    ("mamba", {"d_state": 2}, {"d_state": 4, "kernel_size": 5, "dt_rank": 2}, (4, 8)),
    ("mamba", {"d_state": 2}, {"d_state": 2, "expand_ratio": 2}, (4, 4)),
    ("conv", {"width": 4, "kernel_size": 1}, {"width": 12, "kernel_size": 5}, (4, 8)),
    ("conv", {"width": 4, "stride": 2}, {"width": 8, "stride": 2, "kernel_size": 5}, (4, 8)),
    ("conv_norm", {"width": 4, "stride": 2, "padding": "same"},
     {"width": 8, "stride": 2, "padding": "same", "kernel_size": 5}, (4, 8)),
    ("inverted_residual", {"width": 4, "stride": 2, "padding": "same", "expand_ratio": 2},
     {"width": 8, "stride": 2, "padding": "same", "expand_ratio": 3, "kernel_size": 7}, (4, 8)),
    ("depthwise_conv", {"kernel_size": 3}, {"kernel_size": 7}, (4, 8)),
    ("conv_stem", {"width": 4}, {"width": 12, "kernel_size": 5}, (3, 3)),
    ("pool_project", {"width": 8}, {"width": 12}, (4, 8)),
    ("pool_project", {"width": 8, "stride": 3, "pool": "max"}, {"width": 12, "stride": 3, "pool": "max"}, (4, 8)),
    (
        "mbconv",
        {"width": 8, "stride": 2, "stride_in": "depthwise", "padding": "same"},
        {"width": 12, "stride": 2, "stride_in": "depthwise", "padding": "same", "kernel_size": 5},
        (4, 8),
    ),
    ("deformable_merge", {"width": 4, "kernel_size": 3}, {"width": 8, "kernel_size": 3}, (4, 8)),
    ("pool_project", {"width": 6, "norm": {"op": "batch_norm"}}, {"width": 12, "norm": {"op": "batch_norm"}}, (4, 8)),
    ("conv_shortcut", {"width": 8, "stride": 2}, {"width": 12, "stride": 2, "kernel_size": 5}, (4, 8)),
    ("bottleneck", {"width": 8, "mixer": {"op": "conv"}}, {"width": 16, "mixer": {"op": "conv"}, "kernel_size": 5},
     (4, 8)),
    ("conv_norm", {"width": 4, "stride": 2}, {"width": 8, "stride": 2, "kernel_size": 5}, (4, 8)),
    ("conv_feed_forward", {"width": 4, "expand_ratio": 2}, {"width": 8, "expand_ratio": 3}, (4, 8)),
    ("conv_feed_forward", {"width": 4, "expand_ratio": 2, "middle": {"op": "depthwise_conv", "kernel_size": 3}},
     {"width": 8, "middle": {"op": "depthwise_conv", "kernel_size": 5}}, (4, 8)),
    ("cascade_conv", {"groups": 2}, {"groups": 2, "kernel_size": 5}, (4, 4)),
    ("reparam_conv", {"width": 4, "stride": 2, "small_kernel": 1},
     {"width": 8, "stride": 2, "small_kernel": 1, "kernel_size": 5}, (4, 8)),
    ("reparam_conv", {"width": 8, "depthwise": True}, {"width": 16, "depthwise": True, "kernel_size": 5}, (4, 8)),
    ("rep_mixer", {}, {"kernel_size": 7}, (4, 8)),
    ("gated_feed_forward", {"expand_ratio": 2}, {"expand_ratio": 3}, (4, 8)),
    ("wave", {"expand_ratio": 2}, {"expand_ratio": 4}, (4, 4)),
    ("oversize_conv", {"kernel_size": 5}, {"kernel_size": 9}, (4, 8)),
    ("remember", {"kernel_size": 3}, {"kernel_size": 7}, (4, 8)),
    ("batch_norm", {}, {}, (4, 8)),
    ("classifier", {"num_classes": 5}, {"num_classes": 5}, (4, 8)),
]  # fmt: skip


@pytest.mark.parametrize(("op", "small", "large", "channels"), NESTED)
def test_a_large_op_that_is_zero_outside_the_part_is_the_small_op(
    op: str, small: dict[str, Any], large: dict[str, Any], channels: tuple[int, int]
) -> None:
    part = built(op, small, Shape(channels[0], 9, 9)).eval()
    whole = built(op, large, Shape(channels[1], 9, 9)).eval()
    inside = part.state_dict()
    with torch.no_grad():
        for name, tensor in whole.state_dict().items():
            if not tensor.is_floating_point() or "running" in name:
                continue
            small_one = inside[name]
            # Channels are a prefix; kernels and offset tables lie around the centre.
            spatial = range(2, 4) if tensor.ndim == 4 else range(1, 3) if tensor.ndim == 3 else ()
            starts = [
                (b - s) // 2 if i in spatial else 0
                for i, (b, s) in enumerate(zip(tensor.shape, small_one.shape, strict=True))
            ]
            index = tuple(slice(a, a + s) for a, s in zip(starts, small_one.shape, strict=True))
            padded = torch.zeros_like(tensor)
            padded[index] = small_one
            tensor.copy_(padded)
    x = images(Shape(channels[0], 9, 9))
    wide = torch.cat([x, x.new_zeros(2, channels[1] - channels[0], 9, 9)], 1)
    expected = part(x)
    found = whole(wide)[:, : expected.shape[1]]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_layer_norm_normalises_over_the_channels_that_it_is_given() -> None:
    """Zero-padded channels would change its mean and variance, so the zeroing rule cannot hold for it.

    A supernet binds a prefix of its weights to the module instead; the result is then the narrow norm's.
    """
    module = built("layer_norm", {}, Shape(12, 9, 9))
    weight, bias, x = module.weight.detach(), module.bias.detach(), images(Shape(4, 9, 9))
    found = torch.func.functional_call(module, {"weight": weight[:4], "bias": bias[:4]}, x)
    expected = F.layer_norm(x.permute(0, 2, 3, 1), (4,), weight[:4], bias[:4], 1e-5).permute(0, 3, 1, 2)
    assert torch.equal(found, expected)
    mean = x.mean(1, keepdim=True)
    by_hand = (x - mean) / (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt() * weight[:4, None, None]
    torch.testing.assert_close(found, by_hand + bias[:4, None, None])
    wide = torch.cat([x, x.new_zeros(2, 8, 9, 9)], 1)
    assert not torch.allclose(module(wide)[:, :4], found)


def test_attention_is_softmax_of_scaled_products_and_offsets() -> None:
    module = built("attention", {"width": 8, "head_dim": 4}, Shape(8, 3, 2))
    x = images(Shape(8, 3, 2))
    tokens = x.flatten(2).transpose(1, 2)
    heads = []
    for head in range(2):
        rows = slice(4 * head, 4 * head + 4)
        q, k, v = (
            F.linear(tokens, m.weight[rows], m.bias[rows]) for m in (module.q.linear, module.k.linear, module.v.linear)
        )
        logits = q @ k.transpose(1, 2) / 2
        for i in range(6):
            for j in range(6):
                logits[:, i, j] += module.bias.table[head, i // 2 - j // 2 + 2, i % 2 - j % 2 + 1]
        heads.append(logits.softmax(2) @ v)
    expected = module.project.linear(torch.cat(heads, 2)).transpose(1, 2).unflatten(2, (3, 2))
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("size", range(4, 10))
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 2, 0), (2, 3, 0), (3, 2, 1), (3, 2, 0)])
def test_windows_over_the_edge_are_counted_as_torch_does(size: int, kernel: int, stride: int, padding: int) -> None:
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": True}
    module = built("pool", options, Shape(2, size, size + 1))
    assert module(torch.zeros(1, 2, size, size + 1)).shape[1:] == module.shape.tensor


def test_a_window_cut_off_by_the_edge_pools_what_it_has() -> None:
    module = built("pool_project", {"width": 1}, Shape(1, 3, 3))
    assert module(torch.ones(1, 1, 3, 3)).equal(torch.ones(1, 1, 2, 2))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"op": "attention", "width": 10, "head_dim": 4}, "head_dim=4 does not divide width=10: use 2 or 5"),
        ({"op": "attention", "width": 8, "head_dim": 4, "position": "absolute"}, "position must be one of"),
        ({"op": "conv", "width": 8, "groups": 3}, "groups=3 does not divide channels=8: use 2 or 4"),
        ({"op": "conv", "width": 8, "kernel_size": 20, "padding": 0}, "does not fit a 10x10 map"),
        ({"op": "mbconv", "width": 8, "expand_ratio": 1.3}, "whole number of channels, not 10.4"),
        ({"op": "mbconv", "width": 6}, "whole number of channels, not 1.5"),
        ({"op": "mbconv", "width": 8, "kernel_size": 4}, "must be odd"),
        ({"op": "activation", "name": "swish"}, "activation must be one of"),
        ({"op": "pool_project", "width": 8, "pool": "sum"}, "pool must be one of"),
        ({"op": "conv", "width": 8, "stride": 0}, "from 1"),
        ({"op": "conv_norm", "width": 8, "padding": "valid"}, "a whole number or 'same', not 'valid'"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_numbers(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        make(normalize_block(BlockConfig.from_dict(config), "test").to_dict(), SHAPE)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_nn_modules_with_a_shape_are_ops() -> None:
    for name, kind in OPS.items():
        assert issubclass(kind, nn.Module), name
        assert set(kind.elastic) <= {field.name for field in dataclasses.fields(kind.Config)}, name
        assert kind.__doc__, name
    assert set(RelativeBias.parts) == {"table"}
