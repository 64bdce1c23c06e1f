"""Multiply-adds of aten ops: formulas for those that have some, and lists of those that have none by definition.

Formulas of convolutions and batched matrix products are those of `torch.utils.flop_counter`, halved: its "FLOPs" are
two per multiply-add. The products it lacks are added here. Ops in neither table are reported as unsupported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

aten = torch.ops.aten


def _matrix_vector(matrix: torch.Tensor, vector: torch.Tensor, **_: Any) -> int:
    return matrix.numel()


def _added_matrix_vector(bias: torch.Tensor, matrix: torch.Tensor, vector: torch.Tensor, **_: Any) -> int:
    return matrix.numel()


def _inner(first: torch.Tensor, second: torch.Tensor, **_: Any) -> int:
    return first.numel()


def _added_outer(bias: torch.Tensor, first: torch.Tensor, second: torch.Tensor, **_: Any) -> int:
    return first.numel() * second.numel()


def _added_batch(bias: torch.Tensor, first: torch.Tensor, second: torch.Tensor, **_: Any) -> int:
    return first.numel() * second.shape[2]


def _fused_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(q.shape, k.shape, v.shape) // 2


ADDED_FORMULAS: dict[Any, Callable[..., int]] = {
    aten.mv: _matrix_vector,
    aten.addmv: _added_matrix_vector,
    aten.dot: _inner,
    aten.vdot: _inner,
    aten.addr: _added_outer,
    aten.addbmm: _added_batch,
    # Attention on CPU tensors, which torch's own counter leaves out.
    aten._scaled_dot_product_flash_attention_for_cpu: _fused_attention,
}

# Reason -> names of ops without multiply-adds; the in-place form of an op is the same op.
WITHOUT_MACS: dict[str, str] = {
    "Views and copies move numbers.": """
        alias as_strided cat clone col2im constant_pad_nd contiguous copy detach diagonal embedding expand flip gather
        im2col index index_select lift_fresh narrow permute pixel_shuffle pixel_unshuffle reflection_pad2d repeat
        repeat_interleave replication_pad2d reshape roll select slice split split_with_sizes squeeze stack t to
        transpose tril triu unbind unfold unsafe_split unsqueeze view _reshape_alias _to_copy _unsafe_view""",
    "New tensors hold constants or random numbers.": """
        arange bernoulli empty empty_like eye exponential fill full full_like linspace new_empty new_full new_ones
        new_zeros normal ones ones_like rand randn scalar_tensor trunc_normal uniform zero zeros zeros_like""",
    "Norms scale each number by statistics, once.": """
        linalg_vector_norm native_batch_norm native_group_norm native_layer_norm norm std std_mean var var_mean
        _fused_rms_norm _native_batch_norm_legit _native_batch_norm_legit_no_training""",
    "Softmax is exponentials and one division each.": """
        logsumexp _log_softmax _safe_softmax _softmax""",
    "Pooling and resampling average or pick neighbors.": """
        adaptive_max_pool2d avg_pool1d avg_pool2d avg_pool3d grid_sampler_2d max_pool2d_with_indices mean
        upsample_bicubic2d upsample_bilinear2d upsample_nearest2d upsample_nearest1d upsample_linear1d
        _adaptive_avg_pool2d _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact2d""",
    "Activations are functions of one number.": """
        celu elu gelu glu hardsigmoid hardswish hardtanh leaky_relu log_sigmoid_forward mish native_dropout relu relu6
        sigmoid silu softplus tanh threshold _prelu_kernel""",
    "Sums and functions of numbers at the same place are one operation each; `mul`: see `is_outer_product`.": """
        abs add ceil clamp clamp_max clamp_min cos div erf exp exp2 expm1 floor log log1p log2 maximum minimum mul neg
        pow reciprocal round rsqrt rsub sign sin sqrt square sub""",
    "Comparisons and choices multiply nothing.": """
        all amax amin any argmax argmin argsort bitwise_and bitwise_not bitwise_or eq ge gt isfinite le logical_and
        logical_not logical_or lt masked_fill max min ne scatter sort topk where""",
    "Types are not tensors.": "promote_types",
}
_NAMES_WITHOUT_MACS = frozenset(name for names in WITHOUT_MACS.values() for name in names.split())


@lru_cache(maxsize=4096)
def formula(packet: Any) -> Callable[..., int] | None:
    """Returns the function from an op's arguments and `out_val` to its multiply-adds; None if it has none."""
    added = ADDED_FORMULAS.get(packet)
    if added is not None:
        return added
    flops = flop_registry.get(packet)
    return None if flops is None else lambda *args, **kwargs: flops(*args, **kwargs) // 2


@lru_cache(maxsize=4096)
def name_of(packet: Any) -> str:
    """Returns an op's name, such as `mul`, which is that of its in-place form too."""
    return packet.__name__.rstrip("_")


@lru_cache(maxsize=4096)
def has_no_macs(packet: Any) -> bool:
    """Returns whether an op has no multiply-adds by definition, whatever its arguments."""
    return name_of(packet) in _NAMES_WITHOUT_MACS


def is_outer_product(packet: Any, args: tuple[Any, ...], out: Any) -> bool:
    """Returns whether an op multiplies every number of one tensor with every one of another.

    That is the first half of a matrix product written out; a scale or a gate has the shape of what it scales.
    """
    if packet is not aten.mul or not isinstance(args[1], torch.Tensor):
        return False
    return math.prod(out.shape) > max(args[0].numel(), args[1].numel())
