"""Mixtures of two images and their labels, a whole batch at a time."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F

from nas.training.recipe import Recipe


def mixed(
    images: torch.Tensor, labels: torch.Tensor, recipe: Recipe, *, classes: int, step: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns a batch by mixup or CutMix, with the shares of its classes, (B, classes) in float32.

    mixup adds each image to another of the batch (Zhang et al. 2018, arXiv:1710.09412), CutMix replaces a box of it by
    that of another (Yun et al. 2019, arXiv:1905.04899); a recipe with both flips a coin per batch. One share, from
    Beta(alpha, alpha), is for all images of a batch. Everything random follows from the recipe's seed and `step`.

    Args:
        images: (B, C, R, R).
        labels: (B,), int64.
    """
    rng = random.Random(f"mixing-{recipe.seed}-{step}")
    cut = bool(recipe.cutmix) and (not recipe.mixup or rng.random() < 0.5)
    alpha = recipe.cutmix if cut else recipe.mixup
    share = rng.betavariate(alpha, alpha)
    partner = torch.tensor(rng.sample(range(len(labels)), len(labels)), device=labels.device)
    if cut:
        top, bottom, left, right = _box(rng, images.shape[-1], 1 - share)
        images = images.clone()  # keeps channels_last
        images[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / images.shape[-1] ** 2
    else:
        images = torch.lerp(images[partner], images, share)
    targets = F.one_hot(labels, classes).float()
    return images, torch.lerp(targets[partner], targets, share)


def _box(rng: random.Random, size: int, area: float) -> tuple[int, int, int, int]:
    """Returns top, bottom, left and right of a square of a share of the image's area, clipped at its borders."""
    side = size * area**0.5
    row, column = rng.random() * size, rng.random() * size
    low, high = (lambda at: max(0, round(at - side / 2))), (lambda at: min(size, round(at + side / 2)))
    return low(row), high(row), low(column), high(column)
