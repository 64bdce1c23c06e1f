"""How ops that only rearrange, cut or join tensors pass labels on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.networks.inheritance.labels import Edges, Find, Label, Labels, elementwise, is_fixed, zeros


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
    moving = [i for i, labels in enumerate(axes) if not is_fixed(labels)]
    for i in moving[1:]:
        edges.fix(axes[i])
    sizes = [len(labels) for labels in axes]
    if not moving:
        return zeros(int(np.prod(sizes, dtype=np.int64)))
    shape = [1] * len(axes)
    shape[moving[0]] = -1
    return np.broadcast_to(axes[moving[0]].reshape(shape), sizes).ravel()


def _divided(labels: Label, sizes: list[int], edges: Edges) -> list[Label]:
    """The labels of the axes that one is divided into: those of the axis that they vary along, or of its first."""
    found = [zeros(size) for size in sizes]
    wide = [i for i, size in enumerate(sizes) if size > 1]
    if is_fixed(labels) or not wide:
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


def permute(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = of(args[0])
    return [tuple(x[axis] for axis in args[1])]


def transpose(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = list(of(args[0]))
    a, b = args[1:3] if len(args) > 2 else (-2, -1)
    if len(x) > 1:
        x[a], x[b] = x[b], x[a]
    return [tuple(x)]


def expand(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    return [elementwise([of(args[0])], out.shape, edges)]


def squeeze(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = of(args[0])
    axes = range(len(x)) if len(args) < 2 else [args[1]] if isinstance(args[1], int) else args[1]
    gone = {axis % len(x) for axis in axes if len(x[axis]) == 1}
    return [tuple(labels for axis, labels in enumerate(x) if axis not in gone)]


def unsqueeze(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x, axis = list(of(args[0])), args[1] % out.ndim
    return [(*x[:axis], zeros(1), *x[axis:])]


def select(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x, axis = list(of(args[0])), args[1]
    edges.fix(x.pop(axis))
    return [tuple(x)]


def sliced(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = list(of(args[0]))
    given: tuple[Any, ...] = (*args[1:], *(0, 0, None, 1)[len(args) - 1 :])
    axis, start, end, step = given
    x[axis] = x[axis][slice(start, end, step)]
    return [tuple(x)]


def split(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    axis = args[2] if len(args) > 2 else kwargs.get("dim", 0)
    found: list[Labels] = []
    start = 0
    for each in out:
        x = list(of(args[0]))
        x[axis] = x[axis][start : start + each.shape[axis]]
        start += each.shape[axis]
        found.append(tuple(x))
    return found


def unbind(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = list(of(args[0]))
    edges.fix(x.pop(args[1] if len(args) > 1 else 0))
    return [tuple(x) for _ in out]


def cat(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
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


def stack(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    axis = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.ndim
    every = [of(each) for each in args[0]]
    x = list(elementwise(every, [len(labels) for labels in every[0]], edges))
    return [(*x[:axis], zeros(out.shape[axis]), *x[axis:])]


def pad(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = list(of(args[0]))
    for i in range(len(args[1]) // 2):
        before, after = args[1][2 * i : 2 * i + 2]
        labels = x[-1 - i]
        labels = labels[max(0, -before) : len(labels) - max(0, -after)]
        x[-1 - i] = np.concatenate([zeros(max(0, before)), labels, zeros(max(0, after))])
    return [tuple(x)]


def index(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels] | None:
    x, given = of(args[0]), list(args[1])
    given += [None] * (len(x) - len(given))
    at = [i for i, each in enumerate(given) if each is not None]
    if at != list(range(at[0], at[-1] + 1)):
        return None
    for i in at:
        edges.fix(x[i])
    new = out.ndim - (len(x) - len(at))
    return [(*x[: at[0]], *(zeros(size) for size in out.shape[at[0] : at[0] + new]), *x[at[-1] + 1 :])]


def rolled(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels] | None:
    x = of(args[0])
    axes = args[2] if len(args) > 2 else kwargs.get("dims", ())
    return [x] if axes and all(is_fixed(x[axis]) for axis in axes) else None


def flip(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = list(of(args[0]))
    for axis in args[1]:
        x[axis] = x[axis][::-1]
    return [tuple(x)]


def unfold(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x, axis = list(of(args[0])), args[1] % args[0].ndim
    edges.fix(x[axis])
    x[axis] = zeros(out.shape[axis])
    return [(*x, zeros(out.shape[-1]))]


def im2col(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = of(args[0])
    for labels in x[2:]:
        edges.fix(labels)
    return [(x[0], np.repeat(x[1], out.shape[1] // len(x[1])), zeros(out.shape[2]))]


def repeat(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = of(args[0])
    x = (*(zeros(1) for _ in range(out.ndim - len(x))), *x)
    return [tuple(np.tile(labels, times) for labels, times in zip(x, args[1], strict=True))]


def scanned(args: Any, kwargs: Any, out: Any, of: Find, edges: Edges) -> list[Labels]:
    x = of(args[0])
    edges.fix(x[args[1]])
    return [x]
