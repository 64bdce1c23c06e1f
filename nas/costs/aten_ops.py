"""What the counter knows about aten's ops: which multiply matrices, and which have no multiply-adds by definition.

An op that is in neither table is unsupported, and whoever shows a count says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

NO_MULTIPLY_ADDS: dict[str, frozenset[str]] = {
    "views give the same numbers another shape": frozenset(
        "_reshape_alias _unsafe_view alias as_strided detach diagonal expand narrow permute reshape select slice split "
        "split_with_sizes squeeze swapaxes t transpose unbind unfold unsafe_chunk unsafe_split unsafe_split_with_sizes "
        "unsqueeze view view_as_real".split()
    ),
    "copies move numbers or look them up": frozenset(
        "_to_copy cat channel_shuffle clone col2im constant_pad_nd contiguous copy embedding flip gather im2col index "
        "index_copy index_put index_select lift_fresh masked_fill masked_scatter pixel_shuffle pixel_unshuffle "
        "reflection_pad1d reflection_pad2d repeat repeat_interleave replication_pad1d replication_pad2d roll rot90 "
        "scatter select_scatter slice_scatter stack take tril triu where".split()
    ),
    "new tensors have nothing to multiply": frozenset(
        "arange empty empty_like empty_strided eye fill full full_like linspace new_empty new_full new_ones new_zeros "
        "ones ones_like promote_types scalar_tensor zero zeros zeros_like".split()
    ),
    "random numbers are sampled in training alone": frozenset(
        "bernoulli native_dropout normal rand rand_like randint randn randn_like randperm uniform".split()
    ),
    "norms are a scale and a shift per number, left out by convention": frozenset(
        "_batch_norm_no_update _batch_norm_with_update _fused_rms_norm _native_batch_norm_legit "
        "_native_batch_norm_legit_no_training cudnn_batch_norm linalg_vector_norm miopen_batch_norm native_batch_norm "
        "native_group_norm native_layer_norm norm std std_mean var var_mean".split()
    ),
    "softmax normalizes, left out by convention": frozenset(
        "_log_softmax _masked_softmax _safe_softmax _softmax".split()
    ),
    "pooling averages or picks": frozenset(
        "_adaptive_avg_pool2d adaptive_max_pool2d amax amin aminmax avg_pool1d avg_pool2d max max_pool2d "
        "max_pool2d_with_indices mean min".split()
    ),
    "resizing interpolates between a few neighbors": frozenset(
        "_upsample_bicubic2d_aa _upsample_bilinear2d_aa grid_sampler_2d upsample_bicubic2d upsample_bilinear2d "
        "upsample_linear1d upsample_nearest1d upsample_nearest2d".split()
    ),
    "activations work on each number alone": frozenset(
        "_prelu_kernel celu clamp clamp_max clamp_min elu gelu glu hardshrink hardsigmoid hardswish hardtanh "
        "leaky_relu log_sigmoid_forward mish relu relu6 selu sigmoid silu softplus softshrink tanh threshold".split()
    ),
    "shortcuts, scales, gates and position tables are elementwise arithmetic": frozenset(
        "abs add addcmul ceil cos div floor floor_divide fmod lerp log log10 log1p log2 maximum minimum mul neg pow "
        "reciprocal remainder round rsqrt rsub sign sin sqrt square sub trunc".split()
    ),
    "comparisons decide": frozenset(
        "all any argmax argmin argsort bitwise_and bitwise_not bitwise_or bitwise_xor eq equal ge gt isfinite isinf "
        "isnan le logical_and logical_not logical_or logical_xor lt ne nonzero sort topk".split()
    ),
}
"""Per reason, aten's ops that have no multiply-adds by the package's definition; an in-place op goes by the same name.

What an op of the library does with them may still be its main work, as a scan's products are: such an op declares them
`uncounted`.
"""


# Matrix products that torch's registry has no formula for, in multiply-adds.
_PRODUCTS: dict[str, Callable[..., int]] = {
    "mv": lambda matrix, vector: matrix.numel(),
    "addmv": lambda added, matrix, vector: matrix.numel(),
    "dot": lambda left, right: left.numel(),
    "vdot": lambda left, right: left.numel(),
    "addr": lambda added, column, row: column.numel() * row.numel(),
    "addbmm": lambda added, left, right: left.numel() * right.shape[2],
    "_addmm_activation": lambda added, left, right: left.numel() * right.shape[1],
    # Attention on CPU tensors, which torch's own counter leaves out.
    "_scaled_dot_product_flash_attention_for_cpu": lambda q, k, v, *_: sdpa_flop_count(q.shape, k.shape, v.shape) // 2,
}
_FREE = frozenset[str]().union(*NO_MULTIPLY_ADDS.values())


class AtenOp(NamedTuple):
    """An op as the counter treats it.

    Attributes:
        name: Aten's, without overload and without the underscore of in-place ops: "cumsum".
        macs: Its multiply-adds from its arguments and its output; None if it has no formula.
        free: Whether it has no multiply-adds by definition.
    """

    name: str
    macs: Callable[[Any, Any, Any], int] | None
    free: bool


@cache
def aten_op(func: Any) -> AtenOp:
    """Returns how the counter treats an overload that torch dispatches."""
    packet = func._overloadpacket
    name = packet.__name__
    if name.endswith("_") and not name.endswith("__"):
        name = name[:-1]
    if func.namespace != "aten":
        name = f"{func.namespace}.{name}"
    return AtenOp(name, _formula(packet, name), name in _FREE)


def is_outer_product(name: str, args: Any, out: Any) -> bool:
    """Returns whether a product pairs every number of one tensor with every one of another.

    That is half of a matrix product written out (the other is `sum`); a scale or a gate has the shape of its input.
    """
    if name != "mul" or not isinstance(args[1], torch.Tensor):
        return False
    return out.numel() > max(args[0].numel(), args[1].numel())


def _formula(packet: Any, name: str) -> Callable[[Any, Any, Any], int] | None:
    flops, product = flop_registry.get(packet), _PRODUCTS.get(name)
    if flops is not None:
        return lambda args, kwargs, out: flops(*args, **kwargs, out_val=out) // 2
    if product is not None:
        return lambda args, kwargs, out: product(*(value for value in args if isinstance(value, torch.Tensor)))
    return None
