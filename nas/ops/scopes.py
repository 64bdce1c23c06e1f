"""Which positions attend to one another: windows, shifted windows, grids."""

from __future__ import annotations

import math

import torch
from torch import nn

from nas.ops.spec import Shape, require


class Windows(nn.Module):
    """Divides maps into windows for separate attention and joins them again.

    Args:
        scope: "window" for neighboring positions; "shifted" for windows moved by half their size over the edge, where
            positions that are not neighbors do not see each other (Swin); "grid" for positions `H / size` apart;
            "interleaved" for positions `size` apart, as many as there are (MobileViT).
        size: Positions along each side of a window.
        shape: Of the maps.
    """

    def __init__(self, scope: str, size: int, shape: Shape) -> None:
        super().__init__()
        height, width = shape[1:3]
        require(
            height % size == 0 and width % size == 0,
            f"attention: a {height}x{width} map does not divide into windows of {size}x{size}. Choose a window that "
            "divides it.",
        )
        require(
            not shape.tokens or scope == "carrier",
            f"attention: {scope} windows cannot hold tokens; drop them before, or give attention_scope carrier.",
        )
        # Carriers along each side of the map, and of a window.
        self.carriers = math.isqrt(shape.tokens)
        self.side = self.carriers * size // height
        require(
            self.carriers**2 == shape.tokens
            and self.carriers * size % height == 0
            and (height == width or not self.side),
            f"attention: {shape.tokens} tokens are no square that divides among the windows of a {height}x{width} map.",
        )
        if scope == "interleaved":
            require(height == width, f"attention: interleaved needs a square map, not {height}x{width}.")
            size = height // size
        self.grid, self.size, self.height, self.width = scope in ("grid", "interleaved"), size, height, width
        self.shift = size // 2 if scope == "shifted" else 0

    def mask(self, x: torch.Tensor) -> torch.Tensor:
        """Returns (windows, N, N): 0 where two positions of a shifted window are neighbors, -100 where they are not."""
        rows, columns = (torch.arange(n, device=x.device) for n in (self.height, self.width))
        rows, columns = (
            (i >= n - self.size).long() + (i >= n - self.shift).long()
            for i, n in ((rows, self.height), (columns, self.width))
        )
        regions = self.cut((3 * rows[:, None] + columns)[None, None]).flatten(1)
        return (regions[:, None] != regions[:, :, None]).to(x.dtype) * -100.0

    @property
    def tokens(self) -> int:
        """Number of tokens in front of each window."""
        return self.side**2

    def cut(self, x: torch.Tensor, size: int | None = None) -> torch.Tensor:
        """Cuts a map into windows, channels innermost in memory: (B, C, H, W) -> (B * windows, C, size, size)."""
        s = size or self.size
        rows, columns = self.height // self.size, self.width // self.size
        x = x.permute(0, 2, 3, 1)
        if self.grid:
            x = x.unflatten(2, (s, columns)).unflatten(1, (s, rows)).permute(0, 2, 4, 1, 3, 5)
        else:
            x = x.unflatten(2, (columns, s)).unflatten(1, (rows, s)).permute(0, 1, 3, 2, 4, 5)
        return x.flatten(0, 2).permute(0, 3, 1, 2)

    def divide(self, x: torch.Tensor) -> torch.Tensor:
        """Returns a map's windows: (B * windows, C, size, size); with tokens (…, tokens + size * size, 1)."""
        if self.carriers:
            carriers = x[:, :, : self.carriers**2].flatten(2).unflatten(2, (self.carriers, self.carriers))
            places = x[:, :, self.carriers**2 :].flatten(2).unflatten(2, (self.height, self.width))
            parts = self.cut(carriers, self.side).flatten(2), self.cut(places).flatten(2)
            return torch.cat(parts, 2)[..., None]
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (2, 3))
        return self.cut(x)

    def join(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the map of its windows, the inverse of `divide`."""
        if self.carriers:
            x = x.flatten(2)
            carriers = self.joined(x[:, :, : self.tokens].unflatten(2, (self.side, self.side)))
            places = self.joined(x[:, :, self.tokens :].unflatten(2, (self.size, self.size)))
            return torch.cat([carriers.flatten(2), places.flatten(2)], 2)[..., None]
        x = self.joined(x)
        return x.roll((self.shift, self.shift), (2, 3)) if self.shift else x

    def joined(self, x: torch.Tensor) -> torch.Tensor:
        """Joins windows to a map: (B * windows, C, s, s) -> (B, C, H / size * s, W / size * s)."""
        rows, columns = self.height // self.size, self.width // self.size
        x = x.permute(0, 2, 3, 1).unflatten(0, (-1, rows, columns))
        x = x.permute(0, 3, 1, 4, 2, 5) if self.grid else x.permute(0, 1, 3, 2, 4, 5)
        return x.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
