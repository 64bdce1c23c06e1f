"""How each of aten's ops ties the labels of its arguments and passes them on; see `couplings`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from nas.networks.inheritance import view_rules
from nas.networks.inheritance.labels import Edges, Find, Labels, elementwise, fixed, zeros

_ELEMENTWISE = frozenset((
    "_prelu_kernel", "abs", "add", "addcmul", "alias", "celu", "ceil", "clamp", "clamp_max", "clamp_min",
    "clone", "contiguous", "copy", "cos", "detach", "div", "elu", "eq", "erf", "exp", "floor", "ge", "gelu",
    "gt", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "le", "leaky_relu", "lerp", "lift_fresh", "log",
    "log10", "log1p", "log2", "log_sigmoid_forward", "lt", "masked_fill", "maximum", "minimum", "mish", "mul",
    "ne", "neg", "pow", "reciprocal", "relu", "relu6", "rsqrt", "rsub", "sigmoid", "sign", "silu", "sin",
    "softplus", "softshrink", "sqrt", "square", "sub", "tanh", "threshold", "where", "_to_copy",
    "native_dropout",
))  # fmt: skip
_SYMMETRIC = frozenset(["_softmax", "_log_softmax", "_safe_softmax"])
_REDUCING = frozenset(["mean", "sum", "amax", "amin", "var", "std", "linalg_vector_norm", "var_mean", "std_mean"])
_SPATIAL = frozenset((
    "_adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "max_pool2d_with_indices",
    "upsample_bilinear2d", "upsample_bicubic2d", "upsample_nearest2d", "reflection_pad2d", "replication_pad2d",
))  # fmt: skip
_VIEWS = frozenset(["view", "_unsafe_view", "reshape", "_reshape_alias"])


def follow(name: str, args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels] | None:
    """Ties the labels of an op's arguments; returns those of its outputs, or None if there is no rule for it.

    Args:
        name: Aten's, without the underscore of in-place ops.
        of: Returns a tensor's labels.
    """
    given = [each for each in args if isinstance(each, torch.Tensor)]
    if not given and not any(isinstance(each, list | tuple) and _holds_tensors(each) for each in args):
        return [fixed(each) for each in _outputs(out)]
    rule = _RULES.get(name)
    if name in _ELEMENTWISE:
        return [elementwise([of(each) for each in given], each.shape, edges) for each in _outputs(out)]
    if name in _SYMMETRIC:
        return [of(args[0])]
    if name in _VIEWS:
        return [view_rules.viewed(of(args[0]), out.shape, edges)]
    if name in _REDUCING:
        return [_reduced(of(args[0]), args, kwargs, each) for each in _outputs(out)]
    if name in _SPATIAL:
        return [_spatial(of(args[0]), each, edges) for each in _outputs(out)]
    if name.startswith("_scaled_dot_product"):
        return _attention(args, kwargs, out, of, edges)
    return None if rule is None else rule(args, kwargs, out, of, edges)


def _outputs(out: Any) -> list[torch.Tensor]:
    if isinstance(out, torch.Tensor):
        return [out]
    return [each for each in out if isinstance(each, torch.Tensor)] if isinstance(out, list | tuple) else []


def _holds_tensors(found: Sequence[Any]) -> bool:
    return any(isinstance(each, torch.Tensor) for each in found)


# -- elementwise, norms, reductions ---------------------------------------------------------------------------


def _batch_norm(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = of(args[0])
    for each in args[1:5]:
        if isinstance(each, torch.Tensor):
            edges.tie(x[1], of(each)[0])
    return [x, *(fixed(each) for each in _outputs(out)[1:])]


def _layer_norm(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = of(args[0])
    for each in args[2:4]:
        if isinstance(each, torch.Tensor):
            for labels, own in zip(x[-each.ndim :], of(each), strict=True):
                edges.tie(labels, own)
    return [x, *(fixed(each) for each in _outputs(out)[1:])]


def _group_norm(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x, groups = of(args[0]), args[6]
    for each in args[1:3]:
        if isinstance(each, torch.Tensor):
            edges.tie(x[1], of(each)[0])
    if groups > 1:
        edges.merge(x[1].reshape(groups, -1))
    return [x, *(fixed(each) for each in _outputs(out)[1:])]


def _reduced(x: Labels, args: Any, kwargs: Any, out: torch.Tensor) -> Labels:
    if len(x) == out.ndim:
        return tuple(own if len(own) == size else zeros(size) for own, size in zip(x, out.shape, strict=True))
    axes = next((each for each in (*args[1:], *kwargs.values()) if isinstance(each, list | tuple)), None)
    if axes is None:
        return fixed(out)
    gone = {axis % len(x) for axis in axes}
    kept = [labels for axis, labels in enumerate(x) if axis not in gone]
    return tuple(kept) if gone else fixed(out)


def _spatial(x: Labels, out: torch.Tensor, edges: Edges) -> Labels:
    for labels in x[-2:]:
        edges.fix(labels)
    return (*x[:-2], *(zeros(size) for size in out.shape[-2:]))


# -- products -------------------------------------------------------------------------------------------------


def _convolution(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x, weight, groups, transposed = of(args[0]), of(args[1]), args[8], args[6]
    for labels in weight[2:]:
        edges.fix(labels)
    entering, leaving = (weight[0], weight[1]) if transposed else (weight[1], weight[0])
    if groups == 1:
        edges.tie(x[1], entering)
    else:
        inside = x[1].reshape(groups, -1)
        if transposed or inside.shape[1] > 1:
            edges.fix(weight[1])
        of_group = edges.merge(inside)
        leaving = weight[0] if not transposed else np.repeat(of_group, len(weight[1]))
        edges.merge(np.concatenate([of_group[:, None], weight[0].reshape(groups, -1)], 1))
    if isinstance(args[2], torch.Tensor):
        edges.tie(leaving, of(args[2])[0])
    return [(x[0], leaving, *(zeros(size) for size in out.shape[2:]))]


def _mm(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    first, second = of(args[-2]), of(args[-1])
    edges.tie(first[-1], second[-2])
    if len(first) == 3:
        edges.tie(first[0], second[0])
    found = (*first[:-1], second[-1])
    return [elementwise([found, of(args[0])], out.shape, edges) if len(args) > 2 else found]


def _attention(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    q, k, v = (of(each) for each in args[:3])
    mask = kwargs.get("attn_mask")
    for each in (k, v, *([] if mask is None else [of(mask)])):
        if len(each) == 4 and len(each[1]) == len(q[1]):
            edges.tie(q[1], each[1])
    for each in () if mask is None else of(mask)[-2:]:
        edges.fix(each)
    edges.tie(q[3], k[3])
    edges.tie(k[2], v[2])
    return [(*q[:3], v[3]), *(fixed(each) for each in _outputs(out)[1:])]


_RULES: dict[str, Callable[[Any, Any, Any, Find, Edges], list[Labels] | None]] = {
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "_batch_norm_no_update"),
        _batch_norm,
    ),
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
    "convolution": _convolution,
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm"), _mm),
    "permute": view_rules.permute,
    **dict.fromkeys(("t", "transpose"), view_rules.transpose),
    "expand": view_rules.expand,
    "squeeze": view_rules.squeeze,
    "unsqueeze": view_rules.unsqueeze,
    "select": view_rules.select,
    "slice": view_rules.sliced,
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split"), view_rules.split),
    "unbind": view_rules.unbind,
    "cat": view_rules.cat,
    "stack": view_rules.stack,
    "constant_pad_nd": view_rules.pad,
    "index": view_rules.index,
    "flip": view_rules.flip,
    "unfold": view_rules.unfold,
    "im2col": view_rules.im2col,
    "repeat": view_rules.repeat,
    "roll": view_rules.rolled,
    "cumsum": view_rules.scanned,
}
