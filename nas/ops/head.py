"""The classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nas.ops.spec import Shape, make, op, require


@op("classifier")
class Classifier(nn.Module):
    """Mean over positions, norm, optional hidden tanh layer, linear: (B, C, H, W) -> (B, num_classes).

    CoAtNet has the hidden layer (as wide as its input) in its authors' code; its published parameter counts need it.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        num_classes: int = 1000
        norm: Any = None
        hidden: bool = True

        def __post_init__(self) -> None:
            require(self.num_classes >= 2, f"classifier: num_classes (={self.num_classes}) must be 2 or more.")

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        pooled = Shape(shape.channels, 1, 1)
        self.norm = make(config.norm, pooled) if config.norm else nn.Identity()
        self.hidden = nn.Linear(shape.channels, shape.channels) if config.hidden else nn.Identity()
        self.activation = nn.Tanh() if config.hidden else nn.Identity()
        self.linear = nn.Linear(shape.channels, config.num_classes)
        self.shape = Shape(config.num_classes, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x.mean((2, 3), keepdim=True)).flatten(1)
        return self.linear(self.activation(self.hidden(x)))
