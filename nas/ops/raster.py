"""Pooling of maps read row by row as one sequence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.spec import Shape, op, require


@op("raster_pool")
class RasterPool(nn.Module):
    """Average pooling of runs of `length` positions, row by row: (B, C, H, W) -> (B, C, H * W // length, 1).

    How Next-ViT (Li et al. 2022, arXiv:2207.05501) reduces keys and values: it pools the sequence, so a run is a piece
    of a row or of several rows rather than a square. Positions that fill no run are left out.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        length: int

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require(not shape.tokens, "raster_pool: tokens have no place in the map; drop them before.")
        positions = shape.height * shape.width
        require(
            positions >= config.length,
            f"raster_pool: length (={config.length}) is more than the {shape.height}x{shape.width} map holds.",
        )
        self.length = config.length
        self.shape = Shape(shape.channels, positions // config.length, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool1d(x.flatten(2), self.length)[..., None]
