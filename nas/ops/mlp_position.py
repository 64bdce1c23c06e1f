"""Position biases and embeddings that an MLP computes from coordinates, for any resolution."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.spec import Shape, op, require

HIDDEN = 512


class MLPBias(nn.Module):
    """Attention bias from log-spaced offsets (Swin V2, Liu et al. 2022, arXiv:2111.09883): 16 * sigmoid(MLP(offset)).

    Gives (heads, H * W, H * W): entry [h, i, j] is that of the offset from position j to position i.
    """

    no_decay: tuple[str, ...] = ("expand.weight", "project.weight")

    def __init__(self, heads: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.expand = nn.Linear(2, HIDDEN)
        self.project = nn.Linear(HIDDEN, heads, bias=False)

    def forward(self) -> torch.Tensor:
        weight = self.expand.weight
        rows, columns = (offsets(n, weight) for n in self.size)
        places = torch.stack([rows[:, None].expand(-1, len(columns)), columns.expand(len(rows), -1)], 2)
        table = self.project(F.relu(self.expand(places[None])))[0].permute(2, 0, 1)
        height, width = self.size
        # Entry i is the window of the table that starts at i, read backwards.
        pairs = table.unfold(1, height, 1).unfold(2, width, 1).flip(3, 4)
        return 16 * pairs.flatten(3).flatten(1, 2).sigmoid()

    def fold(self) -> nn.Module:
        """Returns the bias as a constant, since it no longer changes after training."""
        return Constant(self())


class Constant(nn.Module):
    """Table computed once, in place of the module that computes it or adds it."""

    no_decay: tuple[str, ...] = ("table",)

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, x: torch.Tensor | None = None) -> torch.Tensor:
        return self.table if x is None else x + self.table


def offsets(size: int, like: torch.Tensor) -> torch.Tensor:
    """Returns offsets 1 - size to size - 1, scaled to -8 to 8 and then to logarithms, -1.06 to 1.06."""
    steps = torch.arange(1 - size, size, device=like.device, dtype=like.dtype)
    steps = 8 * steps / max(size - 1, 1)
    return steps.sign() * (steps.abs() + 1).log2() / 3


@op("mlp_position")
class MLPPosition(nn.Module):
    """Adds to each position an MLP of its coordinates (FasterViT, Hatamizadeh 2024, arXiv:2306.06189).

    Args:
        window_size: Coordinates count from the middle of windows of this side; None for the whole map.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        window_size: int | None = None

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require(not shape.tokens, "mlp_position: tokens have no coordinates; use it for the map of the op apart.")
        self.window = config.window_size or shape.height
        for size in shape[1:3] if config.window_size else ():
            require(
                size % self.window == 0,
                f"mlp_position: a {shape.height}x{shape.width} map does not divide into windows of {self.window}.",
            )
        require(
            bool(config.window_size) or shape.height == shape.width,
            f"mlp_position: a {shape.height}x{shape.width} map is not square: give window_size.",
        )
        self.expand = nn.Linear(2, HIDDEN)
        self.project = nn.Linear(HIDDEN, shape.channels, bias=False)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.table()

    def table(self) -> torch.Tensor:
        """Returns what is added: (channels, height, width)."""
        weight, size = self.expand.weight, self.window
        steps = torch.arange(size, device=weight.device, dtype=weight.dtype)
        steps = (steps - size // 2) / max(size // 2, 1)
        places = torch.stack([steps[:, None].expand(-1, size), steps.expand(size, -1)], 2)
        table = self.project(F.relu(self.expand(places[None])))[0].permute(2, 0, 1)
        return table.repeat(1, self.shape.height // size, self.shape.width // size)

    def fold(self) -> nn.Module:
        """Returns the addition of the table as a constant."""
        return Constant(self.table())
