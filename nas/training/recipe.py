"""How a network is trained: one recipe for the supernet, for finalists and for `nas train`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import nn

from nas.data import Augment
from nas.errors import RunError
from nas.networks.weight_decay import decay_groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with warm-up, cosine decay and label smoothing.

    Attributes:
        learning_rate: At its peak, after `warmup` of all steps.
        weight_decay: On all parameters but those that `nas.networks.weight_decay.no_weight_decay` names.
        clip_norm: Gradients longer than this are scaled down to it.
        beta2: How slowly AdamW's second moment forgets. Shared weights see gradients of another network at every
            step, which the usual 0.999 averages over far too long a past.
        dtype: What matrix products and convolutions are computed in; weights stay float32.
        distill_weight: Share of the teacher's soft labels in the loss, the rest being the labels'; without a teacher
            there are only labels.
        temperature: By which both networks' logits are divided before they are compared.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    label_smoothing: float = 0.1
    clip_norm: float = 1.0
    beta2: float = 0.99
    augment: Augment = "crop-flip"
    dtype: str = "float32"
    device: str = "cpu"
    seed: int = 0
    distill_weight: float = 0.5
    temperature: float = 2.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Recipe:
        """Restores a recipe that `to_dict` wrote; what an earlier version did not know has its default.

        Raises:
            RunError: If it holds anything that this version does not know.
        """
        others = sorted({*plain} - {each.name for each in fields(cls)})
        if others:
            raise RunError(
                f"A recipe has {others[0]!r}, which this version does not know: use the version that wrote it."
            )
        return cls(**plain)

    def learning_rate_at(self, step: int, steps: int) -> float:
        """The learning rate of one step of `steps`: linear up, then half a cosine down to zero."""
        rise = max(1, round(self.warmup * steps))
        if step < rise:
            return self.learning_rate * (step + 1) / rise
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which forward passes run."""
        if self.dtype == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=getattr(torch, self.dtype))


ALONE, SHARED = 4e-3, 2e-3
"""Peak learning rates of 100,000 weights or fewer at a batch of 64, of one network or of many that share them."""


def learning_rate_for(params: int, batch_size: int, *, base: float = ALONE) -> float:
    """A peak learning rate that suits a network's size: larger ones want smaller steps.

    Twice what it was for networks trained alone, by `experiments/learning-rate`; shared weights were not looked at.
    """
    return base * math.sqrt(batch_size / 64) * min(1.0, (max(1, params) / 1e5) ** -0.3)


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over a module's trainable parameters, without decay on those that it leaves alone."""
    decaying, spared = decay_groups(module)
    return torch.optim.AdamW(
        [{"params": decaying, "weight_decay": recipe.weight_decay}, {"params": spared, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        betas=(0.9, recipe.beta2),
        fused=True,
    )
