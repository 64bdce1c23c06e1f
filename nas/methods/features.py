"""Numeric features of architectures for accuracy predictors: costs, and structure per stage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np

from nas.architecture import Architecture, BlockConfig, StageConfig
from nas.costs import TABLE, cost
from nas.costs.counter import Count
from nas.ops import Shape

STAGE_FEATURES = 6
"""Features per stage in `stage_features`."""
_CONTAINERS = ("serial", "residual", "sum", "product", "concat", "split")


def output_widths(architecture: Architecture) -> list[int]:
    """Returns the output channels of the stem and of every layer; a stage without layers counts as one.

    A layer made of containers (`serial`, `residual`, `sum`, `product`, `concat`, `split`) counts as the sequence of
    its inner blocks that do multiply-adds; of parallel branches, as the longest, with their common output width.
    """
    rows = TABLE.architecture(architecture)
    return [rows[0][1].shape[0], *(width for widths in _stage_widths(architecture, rows) for width in widths)]


def log_channels(architecture: Architecture) -> float:
    """Returns the sum of the logarithms of all output channels."""
    return sum(map(math.log, output_widths(architecture)))


def log_channels_of_part(part: BlockConfig | StageConfig, shape: Shape) -> float:
    """Returns what a stem or stage adds to `log_channels`.

    Args:
        shape: Of its input.
    """
    widths = _widths(part, shape) if isinstance(part, StageConfig) else [TABLE.block(part, shape).shape[0]]
    return sum(map(math.log, widths))


def depth(architecture: Architecture) -> int:
    """Returns the number of branches of all layers; a branch made of containers counts its sequence of inner blocks."""
    rows = TABLE.architecture(architecture)
    stages = zip(architecture.stages, rows, strict=False)  # the row before a stage has the shape that enters it
    return sum(
        max(1, len(inside))
        for stage, (_, before) in stages
        for layer in _inside_stage(stage, Shape(*before.shape))
        for inside in layer
    )


def attending(architecture: Architecture) -> list[list[bool]]:
    """Returns per stage and layer whether it uses attention."""
    return [
        [any(op == "attention" for op in _values(layer.to_dict(), "op")) for layer in stage.layers]
        for stage in architecture.stages
    ]


def kinds(architecture: Architecture) -> str:
    """Returns a letter per stage: C if no layer uses attention, A if all do, M if some do."""
    return "".join("C" if not any(stage) else "A" if all(stage) else "M" for stage in attending(architecture))


def cost_features(architecture: Architecture) -> list[float]:
    """Returns the features from counting: logarithms of parameters and multiply-adds, depth, sum of log-channels."""
    counted = cost(architecture)
    return [
        math.log(max(1, counted.params)),
        math.log(max(1, counted.macs)),
        float(depth(architecture)),
        log_channels(architecture),
    ]


def stage_features(architecture: Architecture) -> list[float]:
    """Returns the stem's log-width, then six numbers per stage.

    These are the number of layers and the mean log of their output channels (both as in `output_widths`), the share of
    layers with attention, the mean kernel size of the mixers, and the stage's shares of multiply-adds and parameters.
    """
    rows = TABLE.architecture(architecture)
    macs, params = (max(1, sum(getattr(row, name) for _, row in rows)) for name in ("macs", "params"))
    found = [math.log(rows[0][1].shape[0])]
    widths = _stage_widths(architecture, rows)
    stages = zip(architecture.stages, rows[1:], attending(architecture), widths, strict=False)
    for stage, (_, counted), attends, wide in stages:
        kernels = [float(value) for layer in stage.layers for value in _values(layer.to_dict(), "kernel_size")]
        found += [
            float(len(wide) if stage.layers else 0),
            sum(map(math.log, wide)) / len(wide),
            sum(attends) / max(1, len(attends)),
            sum(kernels) / len(kernels) if kernels else 0.0,
            counted.macs / macs,
            counted.params / params,
        ]
    return found


def table_of(rows: Sequence[Sequence[float]]) -> np.ndarray:
    """Returns rows of features as an array (N, F); rows of networks with fewer stages are padded with zeros."""
    width = max(map(len, rows), default=0)
    return np.array([[*row, *[0.0] * (width - len(row))] for row in rows], dtype=float)


def _stage_widths(architecture: Architecture, rows: Sequence[tuple[str, Count]]) -> list[list[int]]:
    """Returns per stage the output channels of its layers, or of the blocks inside a layer's containers."""
    befores = zip(architecture.stages, rows, strict=False)  # the row before a stage has the shape that enters it
    return [_widths(stage, Shape(*before.shape)) for stage, (_, before) in befores]


def _widths(stage: StageConfig, shape: Shape) -> list[int]:
    """The same of one stage, for the shape of its input."""
    width = TABLE.stage(stage, shape).shape[0]
    widths: list[int] = []
    for layer in _inside_stage(stage, shape):
        widths += [each for inside in layer for each in inside] or [width]
    return widths or [width]


def _inside_stage(stage: StageConfig, shape: Shape) -> list[list[list[int]]]:
    """Returns per layer and branch of a stage the output channels of the blocks inside the branch's containers."""
    if stage.transition is not None:
        shape = Shape(*TABLE.block(stage.transition, shape).shape)
    found: list[list[list[int]]] = []
    for layer in stage.layers:
        inside: list[list[int]] = []
        for branch in layer.branches:
            inside.append(_inside(branch.mixer, shape) if branch.mixer.op in _CONTAINERS else [])
            shape = Shape(*TABLE.block(branch, shape).shape)
        found.append(inside)
    return found


def _inside(block: BlockConfig, shape: Shape) -> list[int]:
    """Returns the output channels of the sequence of inner blocks that do multiply-adds."""
    counted = TABLE.block(block, shape)
    if block.op not in _CONTAINERS:
        return [counted.shape[0]] if counted.macs else []
    if block.op == "residual":
        return _inside(cast("BlockConfig", block["mixer"]), shape)
    ops = cast("tuple[BlockConfig, ...]", block["ops"])
    if block.op == "serial":
        found: list[int] = []
        for op in ops * cast("int", block.get("repeat", 1)):
            found += _inside(op, shape)
            shape = Shape(*TABLE.block(op, shape).shape)
        return found
    longest = max((_inside(op, part) for op, part in zip(ops, _parts(block, shape), strict=True)), key=len)
    return [*longest[:-1], counted.shape[0]] if longest else []


def _parts(block: BlockConfig, shape: Shape) -> list[Shape]:
    """Returns the input shape of each parallel block: all channels, or its share of them."""
    ops = cast("tuple[BlockConfig, ...]", block["ops"])
    if block.op != "split":
        return [shape] * len(ops)
    shares = cast("tuple[int, ...]", block["shares"])
    return [shape._replace(channels=shape.channels * share // sum(shares)) for share in shares]


def _values(data: Any, name: str) -> Iterator[Any]:
    """Yields every scalar under a key, at any depth."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key == name and not isinstance(value, dict | list | tuple):
                yield value
            yield from _values(value, name)
    elif isinstance(data, list | tuple):
        for item in data:
            yield from _values(item, name)
