"""Seeded, stratified division of labelled images."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.2
"""Held out for testing where a source has no test set, and then of the rest for search-validation where it has none."""


def purpose_generator(seed: int, purpose: str) -> torch.Generator:
    """A generator of its own for each purpose, so that one division does not shift another."""
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def apportion(counts: Sequence[int], share: float, *, keep: int = 1) -> list[int]:
    """How many of each class to hold out: `share` of the total, by largest remainder.

    Each class gives at least one and keeps at least `keep`, so each must have one more than that.
    """
    assert 0 < share < 1, share
    assert min(counts) > keep >= 1, (counts, keep)
    quotas = [math.floor(share * count) for count in counts]
    missing = round(share * sum(counts)) - sum(quotas)
    by_remainder = sorted(range(len(counts)), key=lambda c: (quotas[c] - share * counts[c], c))
    for c in by_remainder[: max(missing, 0)]:
        quotas[c] += 1
    return [min(max(quota, 1), count - keep) for quota, count in zip(quotas, counts, strict=True)]


def divided(counts: Sequence[int], *, validation: int, test: int) -> tuple[int, int, int]:
    """Returns the numbers of training, search-validation and test images, with the usual shares held out.

    Args:
        counts: Images given for training, by class.
        validation: Images of the source's own validation set; 0 where it has none.
        test: Images of the source's own test set; 0 where it has none.
    """
    left = list(counts)
    if not test:
        held = apportion(left, TEST_SHARE, keep=1 if validation else 2)
        test, left = sum(held), [count - out for count, out in zip(left, held, strict=True)]
    if not validation:
        held = apportion(left, VALIDATION_SHARE)
        validation, left = sum(held), [count - out for count, out in zip(left, held, strict=True)]
    return sum(left), validation, test


def hold_out(labels: Tensor, *, share: float, generator: torch.Generator, keep: int = 1) -> tuple[Tensor, Tensor]:
    """Divides images by class.

    Args:
        labels: Class indices, int64 (N,); every class from 0 to the highest occurs more than `keep` times.
        share: Part to hold out, between 0 and 1.
        keep: How many of each class stay, whatever the share.

    Returns:
        Indices that are kept and indices that are held out, each in random order.
    """
    counts = torch.bincount(labels)
    quotas = torch.tensor(apportion(counts.tolist(), share, keep=keep))
    order = torch.randperm(len(labels), generator=generator)
    by_class = order[torch.argsort(labels[order], stable=True)]
    starts = counts.cumsum(0) - counts
    rank = torch.arange(len(labels)) - starts[labels[by_class]]
    held = torch.zeros(len(labels), dtype=torch.bool)
    held[by_class] = rank < quotas[labels[by_class]]
    return order[~held[order]], order[held[order]]
