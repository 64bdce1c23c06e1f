"""Biases that attention adds to its logits, which depend on positions alone."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.mlp_position import MLPBias
from nas.ops.spec import require


class RelativeBias(nn.Module):
    """Relative position bias: a table of (2H - 1) x (2W - 1) offsets per head (CoAtNet; Swin, arXiv:2103.14030).

    Gives (heads, H * W, H * W): entry [h, i, j] is that of the offset from position j to position i.
    """

    # The part of the table that a smaller map uses: offsets lie around the center.
    parts: ClassVar[dict[str, tuple[str, ...]]] = {"table": ("prefix", "center", "center")}
    no_decay: tuple[str, ...] = ("table",)

    def __init__(self, heads: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(heads, 2 * size[0] - 1, 2 * size[1] - 1))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self) -> torch.Tensor:
        return offsets_as_pairs(self.table).flatten(3).flatten(1, 2)

    def resized(self, name: str, found: torch.Tensor) -> torch.Tensor:
        """Returns a table of another size resized to this one."""
        return F.interpolate(found[None], self.table.shape[1:], mode="bilinear", align_corners=True)[0]


class DistanceBias(nn.Module):
    """Distance bias: a table of H x W distances (|dy|, |dx|) per head (LeViT, Graham et al. 2021, arXiv:2104.01136).

    Gives (heads, queries, H * W), where the queries are every `stride`-th position.
    """

    no_decay: tuple[str, ...] = ("distances",)
    parts: ClassVar[dict[str, tuple[str, ...]]] = {"distances": ("prefix", "prefix", "prefix")}  # both count from 0

    def __init__(self, heads: int, size: tuple[int, int], stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.distances = nn.Parameter(torch.zeros(heads, *size))

    def forward(self) -> torch.Tensor:
        table = self.distances
        table = torch.cat([table[:, 1:].flip(1), table], 1)
        table = torch.cat([table[:, :, 1:].flip(2), table], 2)
        pairs = offsets_as_pairs(table)[:, :: self.stride, :: self.stride]
        return pairs.flatten(3).flatten(1, 2)

    def resized(self, name: str, found: torch.Tensor) -> torch.Tensor:
        """Returns distances of another size resized to this one."""
        return F.interpolate(found[None], self.distances.shape[1:], mode="bilinear", align_corners=True)[0]


class TokenBias(nn.Module):
    """Bias per head and token among the keys: (heads, 1, keys), zero for the map's keys."""

    no_decay: tuple[str, ...] = ("heed",)

    def __init__(self, heads: int, tokens: int) -> None:
        super().__init__()
        self.heed = nn.Parameter(torch.zeros(heads, tokens))

    def forward(self, keys: int) -> torch.Tensor:
        return F.pad(self.heed[:, None], (0, keys - self.heed.shape[1]))

    def resized(self, name: str, found: torch.Tensor) -> torch.Tensor:
        """Returns the biases of another number of tokens resized to this one."""
        return F.interpolate(found[None], self.heed.shape[1], mode="linear", align_corners=True)[0]


def offsets_as_pairs(table: torch.Tensor) -> torch.Tensor:
    """Returns (heads, 2H - 1, 2W - 1) offsets as (heads, H, W, H, W): [h, i, j, k, l] is that of (i - k, j - l)."""
    height, width = ((size + 1) // 2 for size in table.shape[1:])
    # Entry i is the window of the table that starts at i, read backwards: no index tensor needed.
    return table.unfold(1, height, 1).unfold(2, width, 1).flip(3, 4)


def position_bias(kind: str, heads: int, size: tuple[int, int], query_stride: int) -> nn.Module | None:
    """Returns the bias of a kind for attention among a map of `size`, or None for a kind that adds nothing."""
    if kind in ("gated", "none"):
        return None
    if kind == "distance":
        return DistanceBias(heads, size, query_stride)
    if kind == "mlp" and query_stride == 1:
        return MLPBias(heads, size)
    require(query_stride == 1, f"attention: position {kind!r} needs a query_stride of 1.")
    return RelativeBias(heads, size)
