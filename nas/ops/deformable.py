"""Merging of neighboring positions, read at learned offsets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.spec import Shape, op, require


@op("deformable_merge")
class DeformableMerge(nn.Module):
    """Merging of k x k positions into one, each of them read at a learned offset.

    The deformable token merging of LIT (Pan et al. 2022, arXiv:2105.14217): a deformable convolution (Dai et al. 2017,
    arXiv:1703.06211) without overlap. A convolution of each patch gives its k * k offsets (dy, dx), zero at first;
    values between positions are bilinear, those beyond the edge zero. (B, C, H, W) -> (B, width, H / k, W / k).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int
        kernel_size: int = 2
        bias: bool = True

    elastic: tuple[str, ...] = ("width",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        k = self.kernel_size = config.kernel_size
        require(not shape.tokens, "deformable_merge: tokens have no neighbors; drop them before.")
        require(
            shape.height % k == 0 and shape.width % k == 0,
            f"deformable_merge: a {shape.height}x{shape.width} map does not divide into patches of {k}x{k}.",
        )
        self.offset = nn.Conv2d(shape.channels, 2 * k * k, k, k)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)  # type: ignore[arg-type]
        self.conv = nn.Conv2d(shape.channels, config.width, k, k, bias=config.bias)
        self.shape = Shape(config.width, shape.height // k, shape.width // k)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        k, (height, width) = self.kernel_size, x.shape[2:]
        # (B, k * k * 2, H / k, W / k) -> (B, H, W, 2): an offset for each position of the map.
        moved = self.offset(x).unflatten(1, (k, k, 2)).permute(0, 4, 1, 5, 2, 3).flatten(3, 4).flatten(1, 2)
        rows, columns = (torch.arange(n, device=x.device, dtype=x.dtype) for n in (height, width))
        # grid_sample counts from -1 at the first to 1 at the last position, x before y.
        down = 2 * (rows[:, None] + moved[..., 0]) / max(height - 1, 1) - 1
        across = 2 * (columns + moved[..., 1]) / max(width - 1, 1) - 1
        return self.conv(F.grid_sample(x, torch.stack([across, down], 3), align_corners=True))
