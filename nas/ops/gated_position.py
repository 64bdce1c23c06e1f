"""Attention weights that each head mixes from content and position."""

from __future__ import annotations

import torch
from torch import nn

from nas.ops.spec import Shape, require


class GatedPosition(nn.Module):
    """Gated positional attention weights (ConViT, d'Ascoli et al. 2021, arXiv:2103.10697).

    Each head takes a learned share of its weights from content and the rest from the offset between two positions of
    a map: the softmax of a linear map of (dx, dy, dx^2 + dy^2).
    """

    def __init__(self, heads: int, shape: Shape) -> None:
        super().__init__()
        require(not shape.tokens, "attention: position gated is for maps alone; insert the tokens after it.")
        self.size = shape.height, shape.width
        self.offsets = nn.Linear(3, heads)
        self.gate = nn.Parameter(torch.ones(heads))
        # The heads start as the taps of a convolution, each at one neighbor.
        side = max(1, int(heads**0.5))
        with torch.no_grad():
            for head in range(min(heads, side * side)):
                row, column = divmod(head, side)
                taps = [2.0 * (column - (side - 1) // 2), 2.0 * (row - (side - 1) // 2), -1.0]
                self.offsets.weight[head] = torch.tensor(taps)

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        """Mixes weights by content (B, heads, N, N), whose rows sum to one, with those by position."""
        rows, columns = (torch.arange(n, device=weights.device, dtype=weights.dtype) for n in self.size)
        dy = (rows - rows[:, None])[:, None, :, None]
        dx = (columns - columns[:, None])[None, :, None, :]
        offsets = torch.stack(torch.broadcast_tensors(dx, dy, dx * dx + dy * dy), 4)
        places = self.offsets(offsets.flatten(2, 3).flatten(0, 1)[None]).softmax(2).permute(0, 3, 1, 2)
        gate = self.gate.sigmoid()[:, None, None]
        return (1 - gate) * weights + gate * places
