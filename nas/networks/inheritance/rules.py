"""How each of aten's ops ties the labels of its arguments and passes them on; see `couplings`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

Label: TypeAlias = NDArray[np.int64]
Labels: TypeAlias = "tuple[Label, ...]"
"""Per axis of a tensor, the label of every index."""
FIXED = 0
"""Label of what must not move."""
Find: TypeAlias = Callable[[torch.Tensor], Labels]

_ELEMENTWISE = frozenset(
    [
        "_prelu_kernel",
        "abs",
        "add",
        "addcmul",
        "alias",
        "celu",
        "ceil",
        "clamp",
        "clamp_max",
        "clamp_min",
        "clone",
        "contiguous",
        "copy",
        "cos",
        "detach",
        "div",
        "elu",
        "eq",
        "erf",
        "exp",
        "floor",
        "ge",
        "gelu",
        "gt",
        "hardshrink",
        "hardsigmoid",
        "hardswish",
        "hardtanh",
        "le",
        "leaky_relu",
        "lerp",
        "lift_fresh",
        "log",
        "log10",
        "log1p",
        "log2",
        "log_sigmoid_forward",
        "lt",
        "masked_fill",
        "maximum",
        "minimum",
        "mish",
        "mul",
        "ne",
        "neg",
        "pow",
        "reciprocal",
        "relu",
        "relu6",
        "rsqrt",
        "rsub",
        "sigmoid",
        "sign",
        "silu",
        "sin",
        "softplus",
        "softshrink",
        "sqrt",
        "square",
        "sub",
        "tanh",
        "threshold",
        "where",
        "_to_copy",
        "native_dropout",
    ]
)
_SYMMETRIC = frozenset(["_softmax", "_log_softmax", "_safe_softmax"])
_REDUCING = frozenset(["mean", "sum", "amax", "amin", "var", "std", "linalg_vector_norm", "var_mean", "std_mean"])
_SPATIAL = frozenset(
    [
        "_adaptive_avg_pool2d",
        "adaptive_max_pool2d",
        "avg_pool2d",
        "max_pool2d_with_indices",
        "upsample_bilinear2d",
        "upsample_bicubic2d",
        "upsample_nearest2d",
        "reflection_pad2d",
        "replication_pad2d",
    ]
)
_VIEWS = frozenset(["view", "_unsafe_view", "reshape", "_reshape_alias"])


class Edges:
    """Pairs of labels that belong to one unit."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Label, Label]] = []

    def tie(self, first: Label, second: Label) -> None:
        """Ties two axes of equal length, index by index."""
        if first is not second:
            self._pairs.append(tuple(np.broadcast_arrays(first, second)))  # type: ignore[arg-type]

    def fix(self, labels: Label) -> None:
        self._pairs.append((labels, np.zeros_like(labels)))

    def merge(self, blocks: Label) -> Label:
        """Ties all labels of each row; returns one for each."""
        if blocks.shape[1] > 1:
            self._pairs.append((blocks[:, 1:].ravel(), np.repeat(blocks[:, 0], blocks.shape[1] - 1)))
        return blocks[:, 0]

    def ends(self) -> tuple[Label, Label]:
        empty = np.zeros(1, np.int64)
        pairs = [(a.ravel(), b.ravel()) for a, b in self._pairs]
        return np.concatenate([empty, *(a for a, _ in pairs)]), np.concatenate([empty, *(b for _, b in pairs)])


def fixed(tensor: torch.Tensor) -> Labels:
    """Labels of a tensor of which nothing may move."""
    return tuple(_zeros(size) for size in tensor.shape)


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
        return [_elementwise([of(each) for each in given], each.shape, edges) for each in _outputs(out)]
    if name in _SYMMETRIC:
        return [of(args[0])]
    if name in _VIEWS:
        return [viewed(of(args[0]), out.shape, edges)]
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


def _zeros(size: int) -> Label:
    return np.zeros(size, np.int64)


def _is_fixed(labels: Label) -> bool:
    return not labels.any()


# -- elementwise, norms, reductions ---------------------------------------------------------------------------


def _elementwise(every: list[Labels], shape: Sequence[int], edges: Edges) -> Labels:
    found: list[Label] = []
    for axis, size in enumerate(reversed(shape)):
        same = [labels[-1 - axis] for labels in every if len(labels) > axis and len(labels[-1 - axis]) == size]
        for each in same[1:]:
            edges.tie(same[0], each)
        found.append(same[0] if same else _zeros(size))
    return tuple(reversed(found))


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
    kept = [labels for labels, size in zip(x, out.shape, strict=False) if len(labels) == size]
    if len(x) == out.ndim:
        return tuple(own if len(own) == size else _zeros(size) for own, size in zip(x, out.shape, strict=True))
    axes = next((each for each in (*args[1:], *kwargs.values()) if isinstance(each, list | tuple)), None)
    if axes is None:
        return fixed(out)
    gone = {axis % len(x) for axis in axes}
    kept = [labels for axis, labels in enumerate(x) if axis not in gone]
    return tuple(kept) if gone else fixed(out)


def _spatial(x: Labels, out: torch.Tensor, edges: Edges) -> Labels:
    for labels in x[-2:]:
        edges.fix(labels)
    return (*x[:-2], *(_zeros(size) for size in out.shape[-2:]))


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
    return [(x[0], leaving, *(_zeros(size) for size in out.shape[2:]))]


def _mm(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    first, second = of(args[-2]), of(args[-1])
    edges.tie(first[-1], second[-2])
    if len(first) == 3:
        edges.tie(first[0], second[0])
    found = (*first[:-1], second[-1])
    return [_elementwise([found, of(args[0])], out.shape, edges) if len(args) > 2 else found]


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


# -- views ----------------------------------------------------------------------------------------------------


def viewed(x: Labels, shape: Sequence[int], edges: Edges) -> Labels:
    """Labels after a view: axes are merged and divided where their sizes have equal products."""
    found: list[Label] = []
    i, rest = 0, list(shape)
    while rest:
        new, taken = [rest.pop(0)], list[Label]()
        before, after = 1, new[0]
        while before != after:
            if before < after:
                taken.append(x[i])
                before *= len(x[i])
                i += 1
            else:
                new.append(rest.pop(0))
                after *= new[-1]
        found += _divided(_merged(taken, edges), new, edges)
    return tuple(found)


def _merged(axes: list[Label], edges: Edges) -> Label:
    """The label of each index of merged axes; all but the first that may move are fixed."""
    if len(axes) == 1:
        return axes[0]
    moving = [i for i, labels in enumerate(axes) if not _is_fixed(labels)]
    for i in moving[1:]:
        edges.fix(axes[i])
    sizes = [len(labels) for labels in axes]
    if not moving:
        return _zeros(int(np.prod(sizes, dtype=np.int64)))
    shape = [1] * len(axes)
    shape[moving[0]] = -1
    return np.broadcast_to(axes[moving[0]].reshape(shape), sizes).ravel()


def _divided(labels: Label, sizes: list[int], edges: Edges) -> list[Label]:
    """The labels of the axes that one is divided into: those of the axis that they vary along, or of its first."""
    found = [_zeros(size) for size in sizes]
    wide = [i for i, size in enumerate(sizes) if size > 1]
    if _is_fixed(labels) or not wide:
        if sizes and not wide and len(labels):
            edges.fix(labels)
        return found
    blocks = labels.reshape(sizes)
    for axis in wide:
        rows = np.moveaxis(blocks, axis, 0).reshape(sizes[axis], -1)
        if (rows == rows[:, :1]).all():
            found[axis] = rows[:, 0]
            return found
    axis = wide[0]
    found[axis] = edges.merge(np.moveaxis(blocks, axis, 0).reshape(sizes[axis], -1))
    return found


def _permute(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = of(args[0])
    return [tuple(x[axis] for axis in args[1])]


def _transpose(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = list(of(args[0]))
    a, b = args[1:3] if len(args) > 2 else (-2, -1)
    if len(x) > 1:
        x[a], x[b] = x[b], x[a]
    return [tuple(x)]


def _expand(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    return [_elementwise([of(args[0])], out.shape, edges)]


def _squeeze(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = of(args[0])
    axes = range(len(x)) if len(args) < 2 else [args[1]] if isinstance(args[1], int) else args[1]
    gone = {axis % len(x) for axis in axes if len(x[axis]) == 1}
    return [tuple(labels for axis, labels in enumerate(x) if axis not in gone)]


def _unsqueeze(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x, axis = list(of(args[0])), args[1] % out.ndim
    return [(*x[:axis], _zeros(1), *x[axis:])]


def _select(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x, axis = list(of(args[0])), args[1]
    edges.fix(x.pop(axis))
    return [tuple(x)]


def _slice(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = list(of(args[0]))
    given: tuple[Any, ...] = (*args[1:], *(0, 0, None, 1)[len(args) - 1 :])
    axis, start, end, step = given
    x[axis] = x[axis][slice(start, end, step)]
    return [tuple(x)]


def _split(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    axis = args[2] if len(args) > 2 else kwargs.get("dim", 0)
    found: list[Labels] = []
    start = 0
    for each in out:
        x = list(of(args[0]))
        x[axis] = x[axis][start : start + each.shape[axis]]
        start += each.shape[axis]
        found.append(tuple(x))
    return found


def _unbind(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = list(of(args[0]))
    edges.fix(x.pop(args[1] if len(args) > 1 else 0))
    return [tuple(x) for _ in out]


def _cat(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    axis = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.ndim
    every = [of(each) for each in args[0]]
    found: list[Label] = []
    for i in range(out.ndim):
        if i == axis:
            found.append(np.concatenate([labels[i] for labels in every]))
            continue
        for labels in every[1:]:
            edges.tie(every[0][i], labels[i])
        found.append(every[0][i])
    return [tuple(found)]


def _stack(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    axis = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.ndim
    every = [of(each) for each in args[0]]
    x = list(_elementwise(every, [len(labels) for labels in every[0]], edges))
    return [(*x[:axis], _zeros(out.shape[axis]), *x[axis:])]


def _pad(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = list(of(args[0]))
    for i in range(len(args[1]) // 2):
        before, after = args[1][2 * i : 2 * i + 2]
        labels = x[-1 - i]
        labels = labels[max(0, -before) : len(labels) - max(0, -after)]
        x[-1 - i] = np.concatenate([_zeros(max(0, before)), labels, _zeros(max(0, after))])
    return [tuple(x)]


def _index(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels] | None:
    x, given = of(args[0]), list(args[1])
    given += [None] * (len(x) - len(given))
    at = [i for i, each in enumerate(given) if each is not None]
    if at != list(range(at[0], at[-1] + 1)):
        return None
    for i in at:
        edges.fix(x[i])
    new = out.ndim - (len(x) - len(at))
    return [(*x[: at[0]], *(_zeros(size) for size in out.shape[at[0] : at[0] + new]), *x[at[-1] + 1 :])]


def _rolled(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels] | None:
    x = of(args[0])
    axes = args[2] if len(args) > 2 else kwargs.get("dims", ())
    return [x] if axes and all(_is_fixed(x[axis]) for axis in axes) else None


def _flip(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = list(of(args[0]))
    for axis in args[1]:
        x[axis] = x[axis][::-1]
    return [tuple(x)]


def _unfold(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x, axis = list(of(args[0])), args[1] % args[0].ndim
    edges.fix(x[axis])
    x[axis] = _zeros(out.shape[axis])
    return [(*x, _zeros(out.shape[-1]))]


def _im2col(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = of(args[0])
    for labels in x[2:]:
        edges.fix(labels)
    return [(x[0], np.repeat(x[1], out.shape[1] // len(x[1])), _zeros(out.shape[2]))]


def _repeat(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = of(args[0])
    x = (*(_zeros(1) for _ in range(out.ndim - len(x))), *x)
    return [tuple(np.tile(labels, times) for labels, times in zip(x, args[1], strict=True))]


def _scanned(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = of(args[0])
    edges.fix(x[args[1]])
    return [x]


_RULES: dict[str, Callable[[Any, Any, Any, Find, Edges], list[Labels] | None]] = {
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "_batch_norm_no_update"),
        _batch_norm,
    ),
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
    "convolution": _convolution,
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm"), _mm),
    "permute": _permute,
    **dict.fromkeys(("t", "transpose"), _transpose),
    "expand": _expand,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "select": _select,
    "slice": _slice,
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split"), _split),
    "unbind": _unbind,
    "cat": _cat,
    "stack": _stack,
    "constant_pad_nd": _pad,
    "index": _index,
    "flip": _flip,
    "unfold": _unfold,
    "im2col": _im2col,
    "repeat": _repeat,
    "roll": _rolled,
    "cumsum": _scanned,
}
