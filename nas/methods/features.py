"""Architectures as numbers, for models of accuracy: what they cost, and what they are made of, stage by stage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nas.architecture import Architecture
from nas.costs import TABLE, cost


def output_widths(architecture: Architecture) -> list[int]:
    """Output channels of the stem and of every layer; a stage without layers counts as one."""
    rows = TABLE.architecture(architecture)
    found = [rows[0][1].shape[0]]
    for stage, (_, counted) in zip(architecture.stages, rows[1:], strict=False):
        found += [counted.shape[0]] * max(1, len(stage.layers))
    return found


def log_channels(architecture: Architecture) -> float:
    """Sum of the logarithms of all output channels."""
    return sum(map(math.log, output_widths(architecture)))


def depth(architecture: Architecture) -> int:
    """Branches of all layers."""
    return sum(len(layer.branches) for stage in architecture.stages for layer in stage.layers)


def attending(architecture: Architecture) -> list[list[bool]]:
    """Per stage and layer, whether it attends."""
    return [
        [any(op == "attention" for op in _values(layer.to_dict(), "op")) for layer in stage.layers]
        for stage in architecture.stages
    ]


def kinds(architecture: Architecture) -> str:
    """A letter per stage: C where no layer attends, A where all do, M where some do."""
    return "".join("C" if not any(stage) else "A" if all(stage) else "M" for stage in attending(architecture))


def cost_features(architecture: Architecture) -> list[float]:
    """What counting alone knows: logarithms of parameters and multiply-adds, depth, sum of log-channels."""
    counted = cost(architecture)
    return [
        math.log(max(1, counted.params)),
        math.log(max(1, counted.macs)),
        float(depth(architecture)),
        log_channels(architecture),
    ]


def stage_features(architecture: Architecture) -> list[float]:
    """Six numbers a stage, the stem's log-width before them.

    Of a stage: its layers, log of output channels, share of its layers that attend, mean kernel size of its mixers,
    and the shares of the network's multiply-adds and parameters that it holds.
    """
    rows = TABLE.architecture(architecture)
    macs, params = (max(1, sum(getattr(row, name) for _, row in rows)) for name in ("macs", "params"))
    found = [math.log(rows[0][1].shape[0])]
    stages = zip(architecture.stages, rows[1:], attending(architecture), strict=False)
    for stage, (_, counted), attends in stages:
        kernels = [float(value) for layer in stage.layers for value in _values(layer.to_dict(), "kernel_size")]
        found += [
            float(len(stage.layers)),
            math.log(counted.shape[0]),
            sum(attends) / max(1, len(attends)),
            sum(kernels) / len(kernels) if kernels else 0.0,
            counted.macs / macs,
            counted.params / params,
        ]
    return found


def table_of(rows: Sequence[Sequence[float]]) -> np.ndarray:
    """Rows of features as an array (N, F); shorter ones, of networks with fewer stages, end with zeros."""
    width = max(map(len, rows), default=0)
    return np.array([[*row, *[0.0] * (width - len(row))] for row in rows], dtype=float)


def _values(data: Any, name: str) -> Iterator[Any]:
    """Every scalar that goes by a name, however deep."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key == name and not isinstance(value, dict | list | tuple):
                yield value
            yield from _values(value, name)
    elif isinstance(data, list | tuple):
        for item in data:
            yield from _values(item, name)
