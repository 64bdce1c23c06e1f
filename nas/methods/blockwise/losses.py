"""The loss of ensemble bootstrapping (BossNAS, Li et al. 2021, arXiv:2103.12424)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

_FIRST_MOMENTUM = 0.99


def ensemble(projections: Sequence[torch.Tensor]) -> torch.Tensor:
    """Returns the population's center: the mean of the paths' normalized projections (B, F)."""
    return torch.stack([F.normalize(each.float(), dim=1) for each in projections]).mean(0)


def bootstrapping_loss(
    predictions: tuple[torch.Tensor, torch.Tensor], targets: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Returns -2 cos(p1, T2) - 2 cos(p2, T1), averaged over the images.

    Args:
        predictions: Predictions of one path for the two views of each image, (B, F) each.
        targets: Ensemble centers of the same views; no gradient flows into them.
    """
    (first, second), (target_1, target_2) = predictions, targets
    crossed = F.cosine_similarity(first.float(), target_2) + F.cosine_similarity(second.float(), target_1)
    return -2 * crossed.mean()


def momentum_at(step: int, steps: int) -> float:
    """Returns the momentum of the target at a step of `steps`: from 0.99 to 1 along half a cosine."""
    return 1 - (1 - _FIRST_MOMENTUM) * 0.5 * (1 + math.cos(math.pi * step / steps))
