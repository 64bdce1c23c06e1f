"""The plan of a supernet's training, and the architectures that take part in it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from nas.architecture import Architecture
from nas.methods.protocol.plan import MethodPlan
from nas.sampling import BudgetSampler

TRAIN_MIN_SHARE = 0.5
"""Default of `train_min_share`; `--supernet` can then search budgets down to half of the original."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetPlan(MethodPlan):
    """The plan of a supernet's training and scoring.

    Attributes:
        watch_every: Epochs between measurements of a few architectures during training.
        train_min_share: Least share of the budget that sampled networks use in the supernet's training. It is below the
            least share of proposals, so that the supernet can serve lower budgets too.
    """

    epochs: int
    strategy: str
    watch_every: int
    recalibration_images: int
    validation_images: int
    train_min_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentPlan(SupernetPlan):
    """The plan of a supernet that begins with a parent's weights.

    Attributes:
        parent_epochs: Of the parent's fine-tuning; 0 for none.
        layer_epochs: In which layers that the parent does not have learn its stages; 0 where there are none.
    """

    parent_epochs: int
    layer_epochs: int


class TrainingMembers:
    """Samples the architectures of the supernet's training: feasible members, by layout."""

    def __init__(self, sampler: BudgetSampler) -> None:
        self._sampler = sampler
        self.layouts = sampler.layouts

    def largest(self, rng: random.Random, layout: str) -> Architecture:
        return self._sampler.largest(rng, layout).architecture

    def smallest(self, rng: random.Random, layout: str) -> Architecture:
        return self._sampler.smallest(rng, layout).architecture

    def member(self, rng: random.Random, layout: str) -> Architecture:
        return self._sampler.sample(rng, layout=layout).architecture
