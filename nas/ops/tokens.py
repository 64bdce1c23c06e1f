"""Tokens beside the map, and positions that are added to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.spec import Shape, op, require


def with_tokens(tokens: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Tokens (B, C, T, 1) in front of a map (B, C, H, W), as (B, C, T + H * W, 1)."""
    return torch.cat([tokens, x.flatten(2)[..., None]], 2)


def map_of(x: torch.Tensor, shape: Shape) -> torch.Tensor:
    """The map (B, C, H, W) of a tensor that may have tokens in front."""
    return x[:, :, shape.tokens :, 0].unflatten(2, shape[1:3]) if shape.tokens else x


@op("class_token")
class ClassToken(nn.Module):
    """Puts learned tokens in front of the map: one to classify by, a second to distil by (DeiT, arXiv:2012.12877)."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        tokens: int = 1

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require(not shape.tokens, "class_token: there are tokens already.")
        self.token = nn.Parameter(torch.zeros(shape.channels, config.tokens, 1))
        nn.init.trunc_normal_(self.token, std=0.02)
        self.shape = shape._replace(tokens=config.tokens)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return with_tokens(self.token.expand(x.shape[0], -1, -1, -1), x)


@op("drop_tokens")
class DropTokens(nn.Module):
    """Leaves the map alone: (B, C, T + H * W, 1) -> (B, C, H, W)."""

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


@op("position")
class Position(nn.Module):
    """Adds a learned vector to every position, tokens included (Dosovitskiy et al. 2021, arXiv:2010.11929).

    The table belongs to one resolution; `nas.model.resize_tables` fits it to another.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        pass

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.empty(shape.tensor))
        nn.init.trunc_normal_(self.embedding, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.embedding

    def resized(self, name: str, found: torch.Tensor) -> torch.Tensor:
        """Positions made for another map, for this one; the tokens' stay."""
        tokens = found[:, : self.shape.tokens]
        side = round((found.shape[1] * found.shape[2] - self.shape.tokens) ** 0.5)
        places = found.flatten(1)[:, self.shape.tokens :].unflatten(1, (side, side))
        places = F.interpolate(places[None], self.shape[1:3], mode="bicubic", align_corners=False)[0]
        return with_tokens(tokens[None], places[None])[0] if self.shape.tokens else places
