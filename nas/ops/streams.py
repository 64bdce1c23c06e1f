"""Parallel streams: several maps of different width and size that are mixed apart and exchange information.

A network of streams passes one tensor from op to op, as all networks do: the streams' numbers one after another, as
(B, numbers, 1, 1), with their shapes in `Shape.streams`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.attention import Attention
from nas.ops.basic import activation
from nas.ops.head import Classifier
from nas.ops.initialization import linear
from nas.ops.spec import Shape, make, op, require, require_divisor


def together(shapes: list[Shape]) -> Shape:
    """Returns the shape of streams in one tensor."""
    return Shape(sum(math.prod(shape.tensor) for shape in shapes), 1, 1, 0, tuple(tuple(shape) for shape in shapes))


def streams_of(shape: Shape) -> list[Shape]:
    """Returns the shapes of a tensor's streams."""
    return [Shape(*stream) for stream in shape.streams]


def pack(streams: list[torch.Tensor]) -> torch.Tensor:
    """Returns tensors (B, …) in one (B, numbers, 1, 1)."""
    return torch.cat([stream.flatten(1) for stream in streams], 1)[:, :, None, None]


def unpack(x: torch.Tensor, shapes: list[Shape]) -> list[torch.Tensor]:
    """Returns the streams in one tensor, each in its own shape."""
    parts = x.flatten(1).split([math.prod(shape.tensor) for shape in shapes], 1)
    return [part.unflatten(1, shape.tensor) for part, shape in zip(parts, shapes, strict=True)]


@op("streams")
class Streams(nn.Module):
    """One block for each stream (CrossViT, Chen et al. 2021, arXiv:2103.14899); on a map, each starts a stream from it.

    Args:
        ops: One per stream. As a mixer `none` gives zeros: that stream waits in a residual branch.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        ops: tuple[Any, ...]

    elastic: tuple[str, ...] = ()
    takes_streams = True

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.before = streams_of(shape) if shape.streams else [shape] * len(config.ops)
        self.starts = not shape.streams
        require(
            len(config.ops) == len(self.before),
            f"streams: {len(config.ops)} ops for {len(self.before)} streams; give one for each.",
        )
        self.ops = nn.ModuleList(make(node, one) for node, one in zip(config.ops, self.before, strict=True))
        self.after: list[Shape] = [block.shape for block in self.ops]  # type: ignore[misc]
        self.shape = together(self.after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        given = [x] * len(self.before) if self.starts else unpack(x, self.before)
        done = [block(stream) for block, stream in zip(self.ops, given, strict=True)]
        # The op `none` gives a single zero.
        return pack([y.expand(x.shape[0], *shape.tensor) for y, shape in zip(done, self.after, strict=True)])


@op("cross_streams")
class CrossStreams(nn.Module):
    """Cross-attention of each stream's class token to the next stream's map (CrossViT, arXiv:2103.14899).

    The token goes through norm, activation and a linear map to the other's width, attends there to itself and the
    map (residual, with a norm before), and comes back the same way in place of what it was.

    Args:
        num_heads: Of attention.
        eps: Of the norms.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        num_heads: int
        activation: str = "gelu"
        eps: float = 1e-6

    elastic: tuple[str, ...] = ()
    takes_streams = True

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.streams = streams_of(shape)
        require(len(self.streams) > 1, "cross_streams: there is one stream; start some with the op streams.")
        require(all(one.tokens == 1 for one in self.streams), "cross_streams: each stream needs one class token.")
        others = [*self.streams[1:], self.streams[0]]
        for other in others:
            require_divisor("cross_streams", "num_heads", config.num_heads, "channels", other.channels)
        self.over = nn.ModuleList(
            TokenMap(one.channels, other.channels, config) for one, other in zip(self.streams, others, strict=True)
        )
        self.norms = nn.ModuleList(make({"op": "layer_norm", "eps": config.eps}, other) for other in others)
        self.attentions = nn.ModuleList(
            Attention(
                Attention.Config(head_dim=other.channels // config.num_heads, position="none", query_source="tokens"),
                other,
            )
            for other in others
        )
        self.back = nn.ModuleList(
            TokenMap(other.channels, one.channels, config) for one, other in zip(self.streams, others, strict=True)
        )
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        streams = unpack(x, self.streams)
        done = []
        for i, stream in enumerate(streams):
            other = streams[(i + 1) % len(streams)]
            token = self.over[i](stream[:, :, :1])
            seen = self.attentions[i](self.norms[i](torch.cat([token, other[:, :, 1:]], 2)))
            token = self.back[i](token + seen[:, :, :1])
            done.append(torch.cat([token, stream[:, :, 1:]], 2))
        return pack(done)


class TokenMap(nn.Module):
    """Norm, activation and linear map on tokens: (B, C, T, 1) -> (B, width, T, 1)."""

    def __init__(self, channels: int, width: int, config: CrossStreams.Config) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=config.eps)
        self.activation = activation(config.activation)
        self.linear = linear(channels, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.activation(self.norm(x.permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)


@op("stream_classifier")
class StreamClassifier(nn.Module):
    """Linear classifier on each stream's class token, logits averaged: (B, numbers, 1, 1) -> (B, num_classes).

    Args:
        norm: Of each token, before its linear map.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        num_classes: int = 1000
        norm: Any = None

    elastic: tuple[str, ...] = ()
    takes_streams = True

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.streams = streams_of(shape)
        require(len(self.streams) > 0, "stream_classifier: there are no streams; start some with the op streams.")
        one = Classifier.Config(num_classes=config.num_classes, norm=config.norm, hidden=False, pool="token")
        self.classifiers = nn.ModuleList(Classifier(one, stream) for stream in self.streams)
        self.shape = Shape(config.num_classes, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = zip(self.classifiers, unpack(x, self.streams), strict=True)
        return torch.stack([classifier(stream) for classifier, stream in parts]).mean(0)


@op("resize")
class Resize(nn.Module):
    """Bicubic interpolation of a map to `numerator / denominator` of its size."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        numerator: int = 1
        denominator: int = 1

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require(not shape.tokens, "resize: tokens have no place; drop them before.")
        height, width = (size * config.numerator // config.denominator for size in shape[1:3])
        require(
            min(height, width) >= 1,
            f"resize: {config.numerator}/{config.denominator} of a {shape.height}x{shape.width} map is nothing.",
        )
        self.shape = Shape(shape.channels, height, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, self.shape[1:3], mode="bicubic", align_corners=False)
