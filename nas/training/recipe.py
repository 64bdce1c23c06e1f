"""How a network is trained: one recipe for the supernet, for finalists and for `nas train`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import torch
from torch import nn

from nas.data import Augment, ImageAugmentation
from nas.errors import RunError
from nas.training.layer_decay import layer_groups

Checkpoint = Literal["last", "best"]
ClassWeights = Literal["none", "balanced"]


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
        layer_decay: Factor of the learning rate from each layer to the one before it (Clark et al. 2020,
            arXiv:2003.10555; Bao et al. 2022, arXiv:2106.08254); 1 is one rate for all.
        ema: Decay per step of an exponential moving average of weights and buffers, which is what is evaluated and
            kept; less in the first steps. 0 is none.
        checkpoint: Whether the weights of the last epoch are kept or those of the best by search-validation.
        patience: Epochs without a better search-validation metric after which the training ends; 0 is never.
        class_weights: "balanced" weights the loss of a class by the inverse of its share of the training images.
        accumulation: Parts that a batch is computed in, one after another, which take less memory; BatchNorm sees
            one part at a time.
        drop_path: Rate of stochastic depth in the last layer's residual branches, rising linearly from none (Huang et
            al. 2016, arXiv:1603.09382).
        mixup, cutmix: Parameter alpha of the Beta distribution of what two images have of a mixture (Zhang et al. 2018,
            arXiv:1710.09412) or of each other's area (Yun et al. 2019, arXiv:1905.04899); 0 is none. With both, each
            batch has one of them.
        resized_crop, randaugment, erasing: As in `nas.data.ImageAugmentation`.
        compile: Whether training steps run as `torch.compile` makes them of the network; they differ by rounding.
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
    layer_decay: float = 1.0
    ema: float = 0.0
    checkpoint: Checkpoint = "last"
    patience: int = 0
    class_weights: ClassWeights = "none"
    accumulation: int = 1
    drop_path: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    resized_crop: float = 0.0
    randaugment: float = 0.0
    erasing: float = 0.0
    compile: bool = False

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

    @property
    def validates(self) -> bool:
        """Whether a training has to be validated after each epoch."""
        return self.checkpoint == "best" or self.patience > 0

    @property
    def augmentation(self) -> ImageAugmentation:
        """What is done to images beside the shift and flip of `augment`."""
        return ImageAugmentation(resized_crop=self.resized_crop, randaugment=self.randaugment, erasing=self.erasing)

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
    """AdamW over a module's trainable parameters, without decay on those that it leaves alone.

    With `layer_decay`, a group of parameters has an `lr_scale`, by which the loop multiplies its learning rate.
    """
    groups: list[dict[str, Any]] = []
    for scale, decaying, spared in layer_groups(module, recipe.layer_decay):
        groups.append({"params": decaying, "weight_decay": recipe.weight_decay, "lr_scale": scale})
        groups.append({"params": spared, "weight_decay": 0.0, "lr_scale": scale})
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=recipe.learning_rate,
        betas=(0.9, recipe.beta2),
        fused=True,
    )
