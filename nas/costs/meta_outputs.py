"""What the most frequent aten ops give on the meta device, without torch's kernels for it.

These are written in Python; the first that runs imports torch's compiler or its symbolic algebra, which is most of the
time of the first count in a process (`experiments/speed`). Outputs here have the shape, strides and type of torch's.
Where that is not plain, such as for operands of several types, torch has to be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from nas.costs.aten_ops import AtenOp, aten_op

_ELEMENTWISE = {
    *("abs", "add", "addcmul", "clamp", "clamp_max", "clamp_min", "div", "elu", "exp", "gelu", "hardsigmoid"),
    *("hardswish", "hardtanh", "leaky_relu", "maximum", "minimum", "mish", "mul", "neg", "pow", "relu", "rsqrt"),
    *("rsub", "sigmoid", "silu", "softplus", "sqrt", "square", "sub", "tanh"),
}
Rule = Callable[..., Any]


class MetaOutputs:
    """What a mode (`TorchDispatchMode`) that derives from this first runs: every op by `known_output`, else by torch.

    Torch imports its compiler for modes whose own class defines `__torch_dispatch__`.
    """

    def note(self, op: AtenOp, args: Any, kwargs: Any, out: Any) -> None:
        """Is called with every op, what it is given and what it gives."""
        raise NotImplementedError

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        op, kwargs = aten_op(func), kwargs or {}
        out = known_output(func, op.name, args, kwargs)
        if out is None:
            out = func(*args, **kwargs)
        self.note(op, args, kwargs, out)
        return out


def known_output(func: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Returns what an overload gives for tensors on the meta device; None where torch has to be asked.

    Args:
        func: The overload.
        name: Aten's name of the op, without the underscore of in-place ops.
    """
    if name in _ELEMENTWISE:
        return _elementwise(func, args, kwargs)
    rule = _RULES.get(name)
    return None if rule is None or kwargs else rule(*args)


def _elementwise(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> torch.Tensor | None:
    operands = [each for each in (*args, *kwargs.values()) if isinstance(each, torch.Tensor)]
    if not _are_plain(operands):
        return None
    if not func._schema.is_mutable:
        return _like(operands)
    target = kwargs.get("out", args[0])
    return target if _broadcast(operands) == tuple(target.shape) else None


def _convolution(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> torch.Tensor | None:
    sides = len(x.shape) - 2
    if transposed or weight.ndim != x.ndim or x.shape[1] != groups * weight.shape[1] or not _are_plain([x, weight]):
        return None
    windows = (stride, padding, dilation)
    if any(len(each) != sides for each in windows):
        return None
    kernels = [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    return _mapped(x, weight.shape[0], kernels, stride, padding)


def _pool(
    x: torch.Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    *others: Any,
) -> torch.Tensor | None:
    if x.ndim != 4 or not _are_plain([x]):
        return None
    kernel, stride, padding = ([*each] * (3 - len(each)) for each in (kernel, stride or kernel, padding))
    made = _mapped(x, x.shape[1], kernel, stride, padding, ceil=ceil_mode)
    if made is None or x.is_contiguous():
        return made
    if not x.is_contiguous(memory_format=torch.channels_last):
        return None
    return torch.empty(made.shape, dtype=x.dtype, device="meta", memory_format=torch.channels_last)


def _max_pool(
    x: torch.Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> tuple[torch.Tensor, torch.Tensor] | None:
    made = _pool(x, kernel, stride, padding, ceil_mode) if {*dilation} == {1} else None
    return (
        None
        if made is None
        else (made, torch.empty_strided(made.shape, made.stride(), dtype=torch.int64, device="meta"))
    )


def _cat(tensors: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor | None:
    first = tensors[0]
    axis = dim % max(1, first.ndim)
    others = {(*each.shape[:axis], *each.shape[axis + 1 :]) for each in tensors}
    if len({each.ndim for each in tensors}) > 1 or len(others) > 1 or not _are_plain(tensors):
        return None
    form = torch.contiguous_format
    if first.ndim == 4 and not any(each.is_contiguous() for each in tensors):
        form = torch.channels_last
        if not all(each.is_contiguous(memory_format=form) for each in tensors):
            return None
    shape = [*first.shape]
    shape[axis] = sum(each.shape[axis] for each in tensors)
    return torch.empty(shape, dtype=first.dtype, device="meta", memory_format=form)


def _group_norm(
    x: torch.Tensor, weight: Any, bias: Any, batch: int, channels: int, positions: int, groups: int, eps: float
) -> tuple[torch.Tensor, ...] | None:
    if not _has_own_statistics(x) or not x.is_contiguous() or channels % groups:
        return None
    return tuple(x.new_empty(shape) for shape in (x.shape, (batch, groups), (batch, groups)))


def _mapped(
    x: torch.Tensor,
    channels: int,
    kernels: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    *,
    ceil: bool = False,
) -> torch.Tensor | None:
    """Returns the output of windows that slide over a map; None if they are larger than it.

    Args:
        ceil: Whether a last window that begins on the map, or left of it, may reach beyond.
    """
    shape = [x.shape[0], channels]
    for size, kernel, step, pad in zip(x.shape[2:], kernels, stride, padding, strict=True):
        room = size + 2 * pad - kernel
        if room < 0:
            return None
        count = room // step + 1
        shape.append(count + (ceil and room % step > 0 and count * step < size + pad))
    return x.new_empty(shape)


def _product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor | None:
    if left.ndim != right.ndim or left.shape[:-2] != right.shape[:-2] or left.shape[-1] != right.shape[-2]:
        return None
    return left.new_empty((*left.shape[:-1], right.shape[-1])) if _are_plain([left, right]) else None


def _added_product(added: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor | None:
    made = _product(left, right)
    return made if made is not None and _are_plain([added, made]) and _broadcast([made, added]) == made.shape else None


def _batch_norm(
    x: torch.Tensor, weight: Any, bias: Any, mean: torch.Tensor, variance: torch.Tensor, training: bool, *others: Any
) -> tuple[torch.Tensor, ...] | None:
    made = _like([x]) if not training and _has_own_statistics(x) and _are_plain([x, mean]) else None
    return None if made is None else (made, mean.new_empty(mean.shape), mean.new_empty(mean.shape))


def _layer_norm(x: torch.Tensor, shape: Sequence[int], *others: Any) -> tuple[torch.Tensor, ...] | None:
    if not _has_own_statistics(x) or not shape or tuple(x.shape[-len(shape) :]) != tuple(shape):
        return None
    kept = (*x.shape[: x.ndim - len(shape)], *[1] * len(shape))
    return tuple(x.new_empty(size) for size in (x.shape, kept, kept))


def _flip(x: torch.Tensor, dims: Sequence[int]) -> torch.Tensor | None:
    return _like([x]) if _are_plain([x]) else None


def _softmax(x: torch.Tensor, dim: int, half_to_float: bool | None = None) -> torch.Tensor | None:
    if half_to_float or not _are_plain([x]):
        return None
    return torch.empty(x.shape, dtype=x.dtype, device="meta")


def _mean(x: torch.Tensor, dims: Sequence[int] | None = None, keepdim: bool = False) -> torch.Tensor | None:
    if not dims or not _are_plain([x]):
        return None
    reduced = {dim % x.ndim for dim in dims}
    shape = [1 if dim in reduced else size for dim, size in enumerate(x.shape) if keepdim or dim not in reduced]
    return x.new_empty(shape) if x.is_contiguous() else None


_RULES: dict[str, Rule] = {
    "_safe_softmax": _softmax,
    "_softmax": _softmax,
    "addmm": _added_product,
    "avg_pool2d": _pool,
    "bmm": _product,
    "cat": _cat,
    "convolution": _convolution,
    "flip": _flip,
    "max_pool2d_with_indices": _max_pool,
    "mean": _mean,
    "mm": _product,
    "native_batch_norm": _batch_norm,
    "native_group_norm": _group_norm,
    "native_layer_norm": _layer_norm,
}


def _has_own_statistics(x: torch.Tensor) -> bool:
    """Returns whether the statistics of a norm have the type of its input, as those of half precision have not."""
    return _are_plain([x]) and x.dtype in (torch.float32, torch.float64)


def _are_plain(operands: Sequence[torch.Tensor]) -> bool:
    """Returns whether operands are floating-point, of one type and all on the meta device."""
    return bool(operands) and all(
        each.is_meta and each.is_floating_point() and each.dtype == operands[0].dtype and not each.is_inference()
        for each in operands
    )


def _like(operands: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """Returns an elementwise op's output; None where its strides do not follow from one operand.

    It is contiguous or channels last if all operands are; else it lies as the first operand that orders its axes.
    """
    shape = _broadcast(operands)
    if shape is None:
        return None
    first = operands[0]
    if all(tuple(each.shape) == shape for each in operands):
        contiguous = all(each.is_contiguous() for each in operands)
        last = len(shape) == 4 and all(each.is_contiguous(memory_format=torch.channels_last) for each in operands)
        if contiguous != last:
            form = torch.channels_last if last else torch.contiguous_format
            return torch.empty(shape, dtype=first.dtype, device="meta", memory_format=form)
    wide = sum(size > 1 for size in shape)
    for each in operands:
        own = sum(size > 1 for size in each.shape)
        if own <= 1 < wide:
            continue  # broadcast along all axes but one: it says nothing of their order
        strides = _dense_strides(each) if tuple(each.shape) == shape else None
        return None if strides is None else torch.empty_strided(shape, strides, dtype=first.dtype, device="meta")
    return None


def _broadcast(operands: Sequence[torch.Tensor]) -> tuple[int, ...] | None:
    """Returns the shape that operands are broadcast to; None if they cannot be."""
    rank = max(each.ndim for each in operands)
    sizes = zip(*([1] * (rank - each.ndim) + list(each.shape) for each in operands), strict=True)
    shape = tuple(next((size for size in axis if size != 1), 1) for axis in sizes)
    fits = all(size in (1, shape[rank - each.ndim + axis]) for each in operands for axis, size in enumerate(each.shape))
    return shape if fits else None


def _dense_strides(tensor: torch.Tensor) -> list[int] | None:
    """Returns strides without gaps, in the order of a tensor's own; None if it has numbers that stand for several."""
    strides = list(tensor.stride())
    wide = [axis for axis, size in enumerate(tensor.shape) if size > 1]
    if any(strides[axis] == 0 for axis in wide):
        return None
    step = 1
    for axis in sorted(wide, key=lambda axis: (strides[axis], tensor.shape[axis], -axis)):
        strides[axis], step = step, step * tensor.shape[axis]
    return strides
