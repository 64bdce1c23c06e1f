"""The plan of a supernet's training, and the architectures that take part in it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from nas.architecture import Architecture
from nas.errors import OptionError
from nas.methods.protocol.plan import MethodPlan
from nas.sampling import BudgetSampler

TRAIN_MIN_SHARE = 0.5
"""Default of `train_min_share`; `--supernet` can then search budgets down to half of the original."""
LEAST_SHARD = 16
"""Images that a shard has at least where the number of shards is not given: BatchNorm's statistics are theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetPlan(MethodPlan):
    """The plan of a supernet's training and scoring.

    Attributes:
        watch_every: Epochs between measurements of a few architectures during training.
        train_min_share: Least share of the budget that sampled networks use in the supernet's training. It is below the
            least share of proposals, so that the supernet can serve lower budgets too.
        shards: Parts of each training batch, whose gradients are averaged. Any number of processes can share them, with
            the same result; BatchNorm sees one shard at a time.
    """

    epochs: int
    strategy: str
    watch_every: int
    recalibration_images: int
    validation_images: int
    train_min_share: float
    shards: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentPlan(SupernetPlan):
    """The plan of a supernet that begins with a parent's weights.

    Attributes:
        parent_epochs: Of the parent's fine-tuning; 0 for none.
        layer_epochs: In which layers that the parent does not have learn its stages; 0 where there are none.
    """

    parent_epochs: int
    layer_epochs: int


def planned_shards(wanted: int, batch_size: int, *, given: bool) -> int:
    """Returns the shards of each batch.

    Args:
        wanted: As many as are asked for, or as there are workers.
        given: Whether they are asked for.

    Raises:
        OptionError: If shards that are asked for would have fewer than two images.
    """
    if not given:
        return max(1, min(wanted, batch_size // LEAST_SHARD))
    if wanted > batch_size // 2:
        raise OptionError(
            f"--shards {wanted}: BatchNorm needs two images in each, and a batch has {batch_size}. Give at most "
            f"--shards {batch_size // 2}, or a larger --batch-size."
        )
    return wanted


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
