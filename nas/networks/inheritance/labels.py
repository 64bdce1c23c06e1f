"""Labels of the indices along a tensor's axes, and which of them belong to one unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

Label: TypeAlias = NDArray[np.int64]
Labels: TypeAlias = "tuple[Label, ...]"
"""Per axis of a tensor, the label of every index."""
FIXED = 0
"""Label of what must not move."""
Find: TypeAlias = Callable[[torch.Tensor], Labels]


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
    return tuple(zeros(size) for size in tensor.shape)


def zeros(size: int) -> Label:
    """Labels of an axis along which nothing may move."""
    return np.zeros(size, np.int64)


def is_fixed(labels: Label) -> bool:
    """Returns whether nothing along an axis may move."""
    return not labels.any()


def elementwise(every: list[Labels], shape: Sequence[int], edges: Edges) -> Labels:
    """Ties tensors that are broadcast together, axis by axis; returns the labels of what they give."""
    found: list[Label] = []
    for axis, size in enumerate(reversed(shape)):
        same = [labels[-1 - axis] for labels in every if len(labels) > axis and len(labels[-1 - axis]) == size]
        for each in same[1:]:
            edges.tie(same[0], each)
        found.append(same[0] if same else zeros(size))
    return tuple(reversed(found))
