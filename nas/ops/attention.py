"""The attention side: multi-head self-attention over all positions of a feature map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from nas.ops.conv import pool_half, reduced
from nas.ops.spec import Shape, op, require


@op("attention")
class Attention(nn.Module):
    """Global self-attention, with CoAtNet's relative position bias (Dai et al. 2021, arXiv:2106.04803).

    softmax(q k^T / sqrt(head_dim) + B[head, i - j]) v, where B is a table of (2H - 1) x (2W - 1) offsets per head and
    layer. With a stride the input is pooled before q, k and v are taken. q, k and v are kept apart, not fused, so that
    a prefix of each is a narrower attention with the same heads.

    Args:
        width: Output channels; a multiple of `head_dim`.
        position: "relative" for the table, "none" for no position.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int
        head_dim: int = 32
        position: str = "relative"
        stride: int = 1
        pool: str = "average"

        def __post_init__(self) -> None:
            width, head_dim = self.width, self.head_dim
            require(
                head_dim >= 1 and width % head_dim == 0,
                f"attention: width (={width}) must divide by head_dim (={head_dim}).",
            )
            kinds = ("none", "relative")
            require(self.position in kinds, f"attention: position must be one of {kinds}, not {self.position!r}.")
            require(self.pool in ("average", "max"), f"attention: pool must be average or max, not {self.pool!r}.")

    elastic: tuple[str, ...] = ("width",)
    # Which part of a parameter a smaller network uses, where it is not the prefix: offsets lie around the centre.
    parts: ClassVar[dict[str, tuple[str, ...]]] = {"table": ("prefix", "centre", "centre")}

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.head_dim, self.stride, self.pool = config.head_dim, config.stride, config.pool
        height, width = reduced(shape, config.stride)
        self.q = nn.Linear(shape.channels, config.width)
        self.k = nn.Linear(shape.channels, config.width)
        self.v = nn.Linear(shape.channels, config.width)
        if config.position == "relative":
            heads = config.width // config.head_dim
            self.table = nn.Parameter(torch.empty(heads, 2 * height - 1, 2 * width - 1))
            nn.init.trunc_normal_(self.table, std=0.02)
        else:
            self.register_parameter("table", None)
        self.project = nn.Linear(config.width, config.width)
        self.shape = Shape(config.width, height, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride > 1:
            x = pool_half(x, self.stride, self.pool)
        height, width = x.shape[2:]
        tokens = x.flatten(2).transpose(1, 2)
        q, k, v = (
            linear(tokens).unflatten(2, (-1, self.head_dim)).transpose(1, 2) for linear in (self.q, self.k, self.v)
        )
        logits = (q * self.head_dim**-0.5) @ k.transpose(2, 3)
        if self.table is not None:
            logits = logits + self.bias(height, width)
        mixed = (logits.softmax(3) @ v).transpose(1, 2).flatten(2)
        return self.project(mixed).transpose(1, 2).unflatten(2, (height, width))

    def bias(self, height: int, width: int) -> torch.Tensor:
        """The table as (heads, H * W, H * W): entry [h, i, j] is that of the offset from position j to i."""
        # Row i of the result is the window of the table that starts at i, read backwards: no index tensor needed.
        windows = self.table.unfold(1, height, 1).unfold(2, width, 1).flip(3, 4)
        return windows.flatten(3).flatten(1, 2)
