"""Classifiers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nas.ops.initialization import linear
from nas.ops.spec import Shape, make, op, require


@op("classifier")
class Classifier(nn.Module):
    """Classifier: pool, norm, optional hidden tanh layer, linear; (B, *shape.tensor) -> (B, num_classes).

    CoAtNet has the hidden layer (as wide as its input) in its authors' code; its published parameter counts need it.

    Args:
        pool: "mean" over positions (tokens left out), "token" for the first token, "all" for the mean over tokens and
            positions.
        norm: After pooling, or before it with `norm_first`.
        before: A block on the map before all else, such as a last convolution.
        after: A block on what is pooled, (B, C, 1, 1), after the norm: a classifier with a hidden layer (MetaFormer).
        num_heads: Linear maps whose logits are averaged; with pool "token" each reads a token of its own (class and
            distillation token), else all read the same (LeViT, EfficientFormer).
        head_norm: A norm of its own before each linear map.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        num_classes: int = 1000
        norm: Any = None
        hidden: bool = True
        pool: str = "mean"
        norm_first: bool = False
        before: Any = None
        after: Any = None
        num_heads: int = 1
        head_norm: Any = None

        def __post_init__(self) -> None:
            require(self.num_classes >= 2, f"classifier: num_classes (={self.num_classes}) must be 2 or more.")
            kinds = ("all", "mean", "token")
            require(self.pool in kinds, f"classifier: pool must be one of {kinds}, not {self.pool!r}.")

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.before = make(config.before, shape) if config.before else nn.Identity()
        shape = getattr(self.before, "shape", shape)
        needed = config.num_heads if config.pool == "token" else 0
        require(
            shape.tokens >= needed,
            f"classifier: pool token with {config.num_heads} heads needs as many tokens, not {shape.tokens}.",
        )
        self.pool, self.norm_first, self.tokens = config.pool, config.norm_first, shape.tokens
        pooled = Shape(shape.channels, 1, 1)
        self.norm = make(config.norm, shape if config.norm_first else pooled) if config.norm else nn.Identity()
        self.after = make(config.after, pooled) if config.after else nn.Identity()
        pooled = shape = getattr(self.after, "shape", pooled)
        self.hidden = linear(shape.channels, shape.channels) if config.hidden else nn.Identity()
        self.activation = nn.Tanh() if config.hidden else nn.Identity()
        self.norms = nn.ModuleList(
            make(config.head_norm, pooled) for _ in range(config.num_heads if config.head_norm else 0)
        )
        self.linear = linear(shape.channels, config.num_classes)
        self.others = nn.ModuleList(linear(shape.channels, config.num_classes) for _ in range(config.num_heads - 1))
        self.shape = Shape(config.num_classes, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.features(x)
        logits = [linear(each) for linear, each in zip([self.linear, *self.others], features, strict=True)]
        return logits[0] if len(logits) == 1 else torch.stack(logits).mean(0)

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Returns what each linear map reads: (B, C)."""
        x = self.before(x)
        if self.norm_first:
            x = self.norm(x)
        pooled = self.pooled(x)
        if not self.norm_first:
            pooled = [self.norm(each) for each in pooled]
        pooled = [self.after(each) for each in pooled]
        features = []
        for i in range(1 + len(self.others)):
            each = pooled[min(i, len(pooled) - 1)]
            if len(self.norms):
                each = self.norms[i](each)
            features.append(self.activation(self.hidden(each.flatten(1))))
        return features

    def pooled(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Returns the pooled features (B, C, 1, 1), one for all linear maps or one for each."""
        if self.pool == "token":
            return [x[:, :, i : i + 1] for i in range(1 + len(self.others))]
        if self.tokens and self.pool == "mean":
            x = x[:, :, self.tokens :]
        return [x.mean((2, 3), keepdim=True)]
