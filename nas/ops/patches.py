"""Patches of a map as channels, and the token mixers that T2T-ViT's stem has between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.initialization import linear
from nas.ops.spec import Shape, op, require


@op("unfold")
class Unfold(nn.Module):
    """Unfolding of each patch into channels: (B, C, H, W) -> (B, C * k * k, H', W'), k * k of every channel in a row.

    With kernel and stride 2 it is the first half of Swin's patch merging (Liu et al. 2021, arXiv:2103.14030), with
    overlap T2T-ViT's soft split (Yuan et al. 2021, arXiv:2101.11986). Nothing is learned.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        kernel_size: int = 2
        stride: int = 2
        padding: int = 0

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require(not shape.tokens, "unfold: tokens have no neighbors; drop them before.")
        self.kernel_size, self.stride, self.padding = k, stride, padding = (
            config.kernel_size,
            config.stride,
            config.padding,
        )
        height, width = ((size + 2 * padding - k) // stride + 1 for size in shape[1:3])
        require(min(height, width) >= 1, f"unfold: a {k}x{k} patch does not fit a {shape.height}x{shape.width} map.")
        self.shape = Shape(shape.channels * k * k, height, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = F.unfold(x, self.kernel_size, padding=self.padding, stride=self.stride)
        return patches.unflatten(2, self.shape[1:3])


@op("token_mixer")
class TokenMixer(nn.Module):
    """Narrowing mixer of T2T-ViT: v + projection of (weights v), one head (Yuan et al. 2021, arXiv:2101.11986).

    q, k and v are linear maps to `width` channels; the shortcut starts at v, since the input is wider.

    Args:
        kind: "softmax" attention (T2T-ViT_t), scaled by the input's width ** -0.5, without biases; or "performer"
            (Choromanski et al. 2020, arXiv:2009.14794), which needs no table of weights.
        features: Of the performer: fixed random directions, kept and counted as parameters.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int = 64
        kind: str = "performer"
        features: int = 32

        def __post_init__(self) -> None:
            kinds = ("performer", "softmax")
            require(self.kind in kinds, f"token_mixer: kind must be one of {kinds}, not {self.kind!r}.")

    elastic: tuple[str, ...] = ()
    uncounted: ClassVar[dict[str, str]] = dict.fromkeys(("exp", "sum"), "random features of the performer")

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        performer, width = config.kind == "performer", config.width
        self.q, self.k, self.v = (linear(shape.channels, width, bias=performer) for _ in range(3))
        self.project = linear(width, width)
        self.scale = shape.channels**-0.5
        self.directions = None
        if performer:
            count = config.features
            require(count <= width, f"token_mixer: features (={count}) must be at most width (={width}).")
            directions = torch.empty(count, width)
            nn.init.orthogonal_(directions, gain=count**0.5)
            self.directions = nn.Parameter(directions, requires_grad=False)
        self.shape = shape._replace(channels=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(2).transpose(1, 2)
        q, k, v = self.q(x), self.k(x), self.v(x)
        mixed = self.softmax(q, k, v) if self.directions is None else self.performer(q, k, v, self.directions)
        return (v + self.project(mixed)).transpose(1, 2).unflatten(2, self.shape.tensor[1:])

    def softmax(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Returns softmax attention of q, k and v, (B, N, width) each."""
        return (q * self.scale @ k.transpose(1, 2)).softmax(2) @ v

    def performer(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """Returns softmax attention approximated by positive random features, linear in the number of positions."""
        q, k = positive_features(q, directions), positive_features(k, directions)
        total = q @ k.sum(1)[:, :, None]
        return q @ (k.transpose(1, 2) @ v) / (total + 1e-8)


def positive_features(x: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Returns exp(w x - |x|^2 / 2) / sqrt(m): (B, N, width) -> (B, N, m), whose products are near exp(x y)."""
    return (F.linear(x, directions) - x.square().sum(2, keepdim=True) / 2).exp() * directions.shape[0] ** -0.5
