"""Tokens beside the map, and position embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.spec import Shape, make, op, require


def with_tokens(tokens: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Returns tokens (B, C, T, 1) in front of a map (B, C, H, W), as (B, C, T + H * W, 1), channels innermost."""
    return torch.cat([each.flatten(2).transpose(1, 2) for each in (tokens, x)], 1).transpose(1, 2)[..., None]


def map_of(x: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Returns the map (B, C, H, W) of a tensor that may have tokens in front."""
    return x[:, :, shape.tokens :, 0].unflatten(2, shape[1:3]) if shape.tokens else x


@op("class_token")
class ClassToken(nn.Module):
    """Learned tokens in front of the map: a class token, and a distillation token (DeiT, arXiv:2012.12877)."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        num_tokens: int = 1

    elastic: tuple[str, ...] = ()
    no_decay: tuple[str, ...] = ("token",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require(not shape.tokens, "class_token: there are tokens already.")
        self.token = nn.Parameter(torch.zeros(shape.channels, config.num_tokens, 1))
        nn.init.trunc_normal_(self.token, std=0.02)
        self.shape = shape._replace(tokens=config.num_tokens)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return with_tokens(self.token.expand(x.shape[0], -1, -1, -1), x)


@op("drop_tokens")
class DropTokens(nn.Module):
    """Drops the tokens and returns the map: (B, C, T + H * W, 1) -> (B, C, H, W)."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        pass

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.before = shape
        self.shape = shape._replace(tokens=0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return map_of(x, self.before)


@op("apart")
class Apart(nn.Module):
    """One block for the map and another for the tokens beside it.

    Args:
        map: None leaves it as it is; the op `none` makes it zero, so that a residual branch changes the tokens alone.
        tokens: The same, for the tokens as (B, C, T, 1).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        map: Any = None
        tokens: Any = None

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require(shape.tokens > 0, "apart: there are no tokens; insert them before with class_token.")
        self.before = shape
        self.map = make(config.map, shape._replace(tokens=0)) if config.map else nn.Identity()
        self.tokens = make(config.tokens, Shape(shape.channels, shape.tokens, 1)) if config.tokens else nn.Identity()
        after: Shape = getattr(self.map, "shape", shape)
        beside: Shape = getattr(self.tokens, "shape", Shape(shape.channels, shape.tokens, 1))
        require(
            beside == Shape(after.channels, shape.tokens, 1),
            f"apart: the map becomes {after.channels} channels wide, the {shape.tokens} tokens {beside[:3]}.",
        )
        self.shape = after._replace(tokens=shape.tokens)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count = self.before.tokens
        tokens, places = self.tokens(x[:, :, :count]), self.map(map_of(x, self.before))
        # The op `none` gives a single zero.
        tokens = tokens.expand(x.shape[0], self.shape.channels, count, 1)
        return with_tokens(tokens, places.expand(x.shape[0], *self.shape[:3]))


def sinusoids(width: int, count: int) -> torch.Tensor:
    """Returns (width, count): sines and cosines of falling frequency (Vaswani et al. 2017, arXiv:1706.03762)."""
    channels = torch.arange(width, dtype=torch.float64)[:, None]
    angles = torch.arange(count, dtype=torch.float64) * 10000 ** (-2 * (channels // 2) / width)
    return torch.where(channels % 2 == 0, angles.sin(), angles.cos()).float()


@op("position")
class Position(nn.Module):
    """Adds a position embedding to every position, tokens included (Dosovitskiy et al. 2021, arXiv:2010.11929).

    The table belongs to one resolution; `nas.networks.network.resize_tables` fits it to another.

    Args:
        kind: "learned", or "sinusoid" for a table that stays as it is but counts as parameters (T2T-ViT).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        kind: str = "learned"

        def __post_init__(self) -> None:
            kinds = ("learned", "sinusoid")
            require(self.kind in kinds, f"position: kind must be one of {kinds}, not {self.kind!r}.")

    elastic: tuple[str, ...] = ()
    no_decay: tuple[str, ...] = ("embedding",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.shape, self.learned = shape, config.kind == "learned"
        table = torch.empty(shape.tensor) if self.learned else self.fixed()
        self.embedding = nn.Parameter(table, requires_grad=self.learned)
        if self.learned:
            nn.init.trunc_normal_(self.embedding, std=0.02)

    def fixed(self) -> torch.Tensor:
        """Returns the sinusoids of this shape."""
        channels, rows, columns = self.shape.tensor
        return sinusoids(channels, rows * columns).unflatten(1, (rows, columns))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.embedding

    def resized(self, name: str, found: torch.Tensor) -> torch.Tensor:
        """Returns the embedding of another map size resized to this one; the tokens' stay."""
        if not self.learned:
            return self.fixed().to(found)
        tokens = found[:, : self.shape.tokens]
        side = round((found.shape[1] * found.shape[2] - self.shape.tokens) ** 0.5)
        places = found.flatten(1)[:, self.shape.tokens :].unflatten(1, (side, side))
        places = F.interpolate(places[None], self.shape[1:3], mode="bicubic", align_corners=False)[0]
        return with_tokens(tokens[None], places[None])[0] if self.shape.tokens else places
