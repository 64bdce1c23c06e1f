"""How blocks combine: one after another, side by side, around a shortcut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nas.ops.initialization import zero_gamma
from nas.ops.spec import Shape, make, op, require


@op("serial")
class Serial(nn.Sequential):
    """Blocks applied one after another, `repeat` times, with their own weights each time."""

    takes_streams = True

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        ops: tuple[Any, ...]
        repeat: int = 1

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        blocks = []
        for node in config.ops * config.repeat:
            blocks.append(make(node, shape))
            shape = blocks[-1].shape
        super().__init__(*blocks)
        self.shape = shape


@op("identity")
class Identity(nn.Identity):
    """Identity, which returns its input."""

    takes_streams = True

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        pass

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.shape = shape


@op("none")
class NoShortcut(nn.Module):
    """Zero: as a shortcut it means no residual connection."""

    takes_streams = True

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        pass

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros((), device=x.device, dtype=x.dtype)


@op("residual")
class Residual(nn.Module):
    """Residual branch `shortcut(x) + scale * mixer(norm(x))`, of a layer or within a block.

    Args:
        norm: Before the mixer; None for none.
        shortcut: None for the identity; the op `none` for no residual connection.
        scale: Initial value of a learned scale per channel (layer scale, Touvron et al. 2021, arXiv:2103.17239).
    """

    takes_streams = True

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        mixer: Any
        norm: Any = None
        shortcut: Any = None
        scale: float | None = None

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.norm = make(config.norm, shape) if config.norm else nn.Identity()
        self.mixer = make(config.mixer, getattr(self.norm, "shape", shape))
        self.shortcut = make(config.shortcut, shape) if config.shortcut else nn.Identity()
        self.shape: Shape = self.mixer.shape
        joined = getattr(self.shortcut, "shape", shape)
        plain = bool(config.shortcut) and config.shortcut["op"] == "none"
        require(
            plain or tuple(joined) == tuple(self.shape),
            f"{config.mixer['op']} gives {self.shape[:3]} (channels, height, width) but its shortcut gives "
            f"{joined[:3]}: give the branch a shortcut that changes both alike, such as pool_project.",
        )
        scale = None if config.scale is None else torch.full((self.shape.channels,), float(config.scale))
        self.scale = None if scale is None else nn.Parameter(scale)
        if not plain and self.scale is None:
            zero_gamma(self.mixer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.mixer(self.norm(x))
        if self.scale is not None:
            y = y * self.scale[:, None, None]
        return self.shortcut(x) + y


class Elementwise(nn.Module):
    """Blocks of the same input whose outputs, all of one shape, are combined by `function` in order."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        ops: tuple[Any, ...]

    elastic: tuple[str, ...] = ()
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.ops = nn.ModuleList(make(node, shape) for node in config.ops)
        self.shape = same_shape(type(self).__name__.lower(), self.ops)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = self.ops[0](x)
        for block in self.ops[1:]:
            total = self.function(total, block(x))
        return total


@op("sum")
class Sum(Elementwise):
    """Sum of several blocks of the same input."""

    function = staticmethod(torch.add)


@op("product")
class Product(Elementwise):
    """Elementwise product of several blocks of the same input, as in gates."""

    function = staticmethod(torch.mul)


@op("concat")
class Concat(nn.Module):
    """Concatenation of the channels of several blocks of the same input."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        ops: tuple[Any, ...]

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.ops = nn.ModuleList(make(node, shape) for node in config.ops)
        self.shape = joined_shape("concat", self.ops)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([block(x) for block in self.ops], 1)


@op("split")
class Split(nn.Module):
    """Channels divided among blocks by `shares` and their outputs concatenated.

    Args:
        shares: A whole number per block; of C channels it gets C * share / sum(shares).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        ops: tuple[Any, ...]
        shares: tuple[int, ...]

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        whole = sum(config.shares)
        require(
            len(config.shares) == len(config.ops) and all(shape.channels * s % whole == 0 for s in config.shares),
            f"split: shares {config.shares} must be one per op and divide {shape.channels} channels evenly.",
        )
        self.sizes = [shape.channels * share // whole for share in config.shares]
        parts = zip(config.ops, self.sizes, strict=True)
        self.ops = nn.ModuleList(make(node, shape._replace(channels=size)) for node, size in parts)
        self.shape = joined_shape("split", self.ops)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = zip(self.ops, x.split(self.sizes, 1), strict=True)
        return torch.cat([block(part) for block, part in parts], 1)


def same_shape(name: str, blocks: nn.ModuleList) -> Shape:
    """Returns the one shape that all blocks have as output."""
    shapes: list[Any] = [block.shape for block in blocks]
    require(len(set(shapes)) == 1, f"{name}: its blocks must have one output shape, not {', '.join(map(str, shapes))}.")
    return shapes[0]


def joined_shape(name: str, blocks: nn.ModuleList) -> Shape:
    """Returns the shape of the blocks' concatenated outputs."""
    shapes: list[Any] = [block.shape for block in blocks]
    require(
        len({shape[1:] for shape in shapes}) == 1,
        f"{name}: its blocks must give maps of one size, not {', '.join(map(str, shapes))}.",
    )
    return shapes[0]._replace(channels=sum(shape.channels for shape in shapes))
