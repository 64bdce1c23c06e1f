"""What predicts a network's latency: the work of each block, by kind of aten op.

A block is a stem, a transition, a residual branch or a head. It runs once on the meta device, as a deployed network has
it (branches and BatchNorms folded), and every aten op adds to the work of its kind: calls, multiply-adds by the same
formulas as budgets, and numbers read and written. Views cost nothing and do not count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nas.architecture import Architecture, BlockConfig, BranchConfig, StageConfig
from nas.costs.aten_ops import NO_MULTIPLY_ADDS, aten_op
from nas.costs.block_cache import cannot_run
from nas.costs.count_table import count_key
from nas.networks.fold import fold
from nas.networks.network import make_part
from nas.ops import Shape

PRODUCTS = ("conv", "pointwise", "depthwise", "grouped", "linear", "attention")
"""Kinds that multiply: dense convolutions, 1x1 ones, one channel at a time, groups, linear maps, pairs of tokens."""
PASSES = ("norm", "softmax", "activation", "arithmetic", "copy", "reduction", "other")
"""Kinds that read and write each number about once."""
KINDS = PRODUCTS + PASSES
COLUMNS = (
    *(f"{kind} calls" for kind in KINDS),
    *(f"{kind} macs" for kind in PRODUCTS),
    *(f"{kind} elements" for kind in KINDS),
    "weights",
)
"""Columns of a block's work, all for one image; elements are numbers read and written, weights aside."""

_FAMILIES = {
    "norms": "norm",
    "softmax": "softmax",
    "pooling": "reduction",
    "activations": "activation",
    "shortcuts,": "arithmetic",
    "copies": "copy",
    "new": "copy",
    "resizing": "copy",
}
# The first word of each reason why an op has no multiply-adds is what kind of work it is instead.
_PASS_KIND = {
    name: _FAMILIES[reason.split()[0]]
    for reason, names in NO_MULTIPLY_ADDS.items()
    if reason.split()[0] in _FAMILIES
    for name in names
}
_VIEWS = next(names for reason, names in NO_MULTIPLY_ADDS.items() if reason.startswith("views"))
_REDUCTIONS = frozenset({"sum", "cumsum", "std_mean", "var_mean", "linalg_vector_norm"})


@dataclass(frozen=True, slots=True)
class BlockWork:
    """Work of one block on one image.

    Attributes:
        key: Names the block and its input shape: equal keys are equal work.
        work: One number per entry of `COLUMNS`.
        shape: Channels, height and width that it reads, then those that it gives.
    """

    key: str
    work: tuple[float, ...]
    shape: tuple[int, ...]


class _WorkRecorder(TorchDispatchMode):
    """Adds up calls, multiply-adds and elements per kind of everything that runs inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.found = dict.fromkeys(COLUMNS, 0.0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name, macs, _ = aten_op(func)
        if name in _VIEWS:
            return out
        kind = _kind(name, args, macs is not None)
        self.found[f"{kind} calls"] += 1
        moved = _size(out) + sum(_size(value) for value in args)
        if macs is not None:
            self.found[f"{kind} macs"] += macs(args, kwargs, out)
            if kind != "attention":
                weights = _size(args[2] if name.endswith("addmm") else args[1])
                self.found["weights"] += weights
                moved -= weights
        self.found[f"{kind} elements"] += moved
        return out


def block_work(config: BlockConfig | BranchConfig, shape: Shape, *, folded: bool = True) -> BlockWork:
    """Returns the work of one block on one image of `shape`; asked twice, it is counted once.

    Args:
        folded: Whether the network is deployed with its branches and BatchNorms folded.

    Raises:
        ArchitectureError: If the block cannot run on this shape.
    """
    return _counted(config, shape, folded)[0]


def blocks_of(architecture: Architecture, *, folded: bool = True) -> list[BlockWork]:
    """Returns the work of every block of a network, from the stem to the head.

    Raises:
        ArchitectureError: If its stages do not fit one another.
    """
    size = architecture.input.resolution
    shape, found = Shape(architecture.input.channels, size, size), list[BlockWork]()
    for part in (architecture.stem, *architecture.stages, architecture.head):
        blocks, shape = _walk(part, shape, folded)
        found += blocks
    return found


def part_blocks(part: BlockConfig | StageConfig, shape: Shape, *, folded: bool = True) -> list[BlockWork]:
    """Returns the work of every block of a stem, a stage or a head, whose input has this shape."""
    return _walk(part, shape, folded)[0]


def _walk(part: BlockConfig | StageConfig, shape: Shape, folded: bool) -> tuple[list[BlockWork], Shape]:
    found: list[BlockWork] = []
    for each in _blocks(part):
        block, shape = _counted(each, shape, folded)
        found.append(block)
    return found, shape


def total_work(blocks: Iterable[BlockWork]) -> np.ndarray:
    """Returns the sum of blocks' work, (len(COLUMNS),)."""
    return np.sum([block.work for block in blocks], axis=0)


def _blocks(part: BlockConfig | StageConfig) -> Iterator[BlockConfig | BranchConfig]:
    if not isinstance(part, StageConfig):
        yield part
        return
    if part.transition is not None:
        yield part.transition
    for layer in part.layers:
        yield from layer.branches


@lru_cache(maxsize=200_000)
def _counted(config: BlockConfig | BranchConfig, shape: Shape, folded: bool) -> tuple[BlockWork, Shape]:
    """Returns the work of a block and the shape of its output."""
    try:
        with torch.device("meta"):
            module = make_part(config, shape).eval()
        deployed = fold(module) if folded else module
        x = torch.empty((1, *shape.tensor), device="meta").to(memory_format=torch.channels_last)
        with torch.no_grad(), _WorkRecorder() as recorder:
            deployed(x)
    except (RuntimeError, IndexError) as fault:
        raise cannot_run(config, shape, fault) from None
    key = count_key(config, shape) + ("" if folded else "-plain")
    return BlockWork(key, tuple(recorder.found.values()), (*shape[:3], *module.shape[:3])), module.shape


def _kind(name: str, args: Any, multiplies: bool) -> str:
    if "convolution" in name:
        weight, groups = args[1], args[8]
        if groups > 1:
            return "depthwise" if weight.shape[1] == 1 else "grouped"
        return "pointwise" if math.prod(weight.shape[2:]) == 1 else "conv"
    if name in ("bmm", "baddbmm") or "attention" in name:
        return "attention"
    if multiplies:
        return "linear"
    if name in _REDUCTIONS:
        return "reduction"
    return _PASS_KIND.get(name, "other")


def _size(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel()
    return sum(_size(item) for item in value) if isinstance(value, tuple | list) else 0
