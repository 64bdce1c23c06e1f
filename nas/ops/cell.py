"""Cells: small graphs of operations, as in NAS-Bench-201 and NATS-Bench."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import nn

from nas.ops.conv import reduced
from nas.ops.spec import Shape, op, require, require_map
from nas.ops.strided import StridedConv

_EDGE = re.compile(r"(none|skip_connect|nor_conv_1x1|nor_conv_3x3|avg_pool_3x3)~(\d)")


@op("cell")
class Cell(nn.Module):
    """NAS-Bench-201 cell (Dong and Yang 2020, arXiv:2001.00326), whose nodes sum edges from the nodes before them.

    Args:
        width: Output channels of every node but the input.
        genotype: `|op~from|+|op~from|op~from|+…`, one group per node. The default is the one that all networks of
            NATS-Bench's size space share (Dong et al. 2021, arXiv:2009.00437).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int
        genotype: str = (
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
        )

    elastic: tuple[str, ...] = ("width",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require_map("cell", shape)
        self.sources: list[list[int]] = []
        self.nodes = nn.ModuleList()
        for number, group in enumerate(config.genotype.split("+"), start=1):
            parts = [_EDGE.fullmatch(part) for part in group.strip("|").split("|")]
            found = [(match[1], int(match[2])) for match in parts if match]
            require(
                len(found) == len(parts) and all(source < number for _, source in found),
                f"cell: node {number} of the genotype cannot be read: {group!r}. Write it as |nor_conv_3x3~0|.",
            )
            kept = [(name, source) for name, source in found if name != "none"]
            require(bool(kept), f"cell: node {number} of the genotype has no input: {group!r}.")
            self.sources.append([source for _, source in kept])
            self.nodes.append(
                nn.ModuleList(
                    _edge(name, config.width if source else shape.channels, config.width) for name, source in kept
                )
            )
        self.shape = shape._replace(channels=config.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = [x]
        for edges, sources in zip(self.nodes, self.sources, strict=True):
            terms = [edge(values[source]) for edge, source in zip(edges, sources, strict=True)]  # type: ignore[arg-type]
            total = terms[0]
            for term in terms[1:]:
                total = total + term
            values.append(total)
        return values[-1]


@op("basic_block")
class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions, ReLU first (He et al. 2016), with average pooling and 1x1 as shortcut.

    It is what NAS-Bench-201 reduces resolution with; unlike a branch it has the shortcut inside.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int
        stride: int = 2

    elastic: tuple[str, ...] = ("width",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require_map("basic_block", shape)
        self.first = relu_conv_norm(shape.channels, config.width, 3, config.stride)
        self.second = relu_conv_norm(config.width, config.width, 3)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(config.stride, config.stride), nn.Conv2d(shape.channels, config.width, 1, bias=False)
        )
        self.shape = Shape(config.width, *reduced(shape, config.stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shortcut(x) + self.second(self.first(x))


def relu_conv_norm(channels: int, width: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """Returns ReLU, convolution without bias and BatchNorm in a row."""
    return nn.Sequential(
        nn.ReLU(),
        StridedConv(channels, width, kernel_size, stride, kernel_size // 2, bias=False),
        nn.BatchNorm2d(width),
    )


def _edge(name: str, channels: int, width: int) -> nn.Module:
    if name == "nor_conv_3x3":
        return relu_conv_norm(channels, width, 3)
    if name == "nor_conv_1x1":
        return relu_conv_norm(channels, width, 1)
    change: list[nn.Module] = []
    if channels != width:
        change = [nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)]
    if name == "avg_pool_3x3":
        return nn.Sequential(*change, nn.AvgPool2d(3, 1, 1, count_include_pad=False))
    return nn.Sequential(*change)
