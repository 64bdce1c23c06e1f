"""Augmentation of whole batches: random resized crops, RandAugment with a policy per image, random erasing.

All of it is arithmetic on tensors, on the CPU or a GPU; what is random is drawn on the CPU from a generator that the
caller gives, so that a batch follows from its seed alone and a resumed training sees the same bits. (kornia's
RandAugment has one policy for a whole batch, and draws from torch's global generator.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.data.color_changes import COLOR_CHANGES

MOST = 10.0
"""The highest magnitude of RandAugment."""
_OPERATIONS = 2
_RATIO = 4 / 3
_ERASED_AREA, _ERASED_RATIO = (0.02, 1 / 3), 10 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageAugmentation:
    """What is done to training images beside a shift and a flip; each is left out where it is 0.

    Attributes:
        resized_crop: The least share of an image's area that is cut out, with a ratio of sides from 3/4 to 4/3, and
            resized to the whole (Szegedy et al. 2015, arXiv:1409.4842); it takes the place of the shift.
        randaugment: Magnitude, up to 10, of two operations per image of the fourteen of RandAugment (Cubuk et al. 2020,
            arXiv:1909.13719), with random signs. What comes into the image is reflected at its borders.
        erasing: Probability that a rectangle of 2 % to 33 % of an image becomes the mean color that images are
            normalized by (Zhong et al. 2020, arXiv:1708.04896).
    """

    resized_crop: float = 0.0
    randaugment: float = 0.0
    erasing: float = 0.0

    @property
    def active(self) -> bool:
        """Whether anything is done."""
        return bool(self.resized_crop or self.randaugment or self.erasing)

    def changed(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Returns cropped images after RandAugment.

        Args:
            images: (B, C, R, R), from 0 to 1.
            generator: On the CPU.
        """
        if self.resized_crop:
            images = _moved(images, _crops(len(images), self.resized_crop, generator))
        for _ in range(_OPERATIONS if self.randaugment else 0):
            images = _randomly_changed(images, self.randaugment / MOST, generator)
        return images

    def erased(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Returns normalized images, (B, C, R, R), of which some have a rectangle of zeros."""
        if not self.erasing:
            return images
        count, size = len(images), images.shape[-1]
        hit, area, ratio, row, column = _uniform(5, count, generator)
        area = _between(area, *_ERASED_AREA)
        ratio = _between(ratio, -1, 1).mul(math.log(_ERASED_RATIO)).exp()
        height, width = ((area * each).sqrt().mul(size).round().clamp(1, size) for each in (ratio, 1 / ratio))
        down, across = (_span(at, side, size) for at, side in ((row, height), (column, width)))
        gone = (hit < self.erasing)[:, None, None] & down[:, :, None] & across[:, None, :]
        return images.masked_fill(gone[:, None].to(images.device), 0.0)


def _uniform(rows: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(rows, count, generator=generator)


def _between(share: Tensor, low: float, high: float) -> Tensor:
    return low + share * (high - low)


def _span(at: Tensor, side: Tensor, size: int) -> Tensor:
    """Returns which of `size` pixels are in a span of `side` pixels: (B, size); `at`, from 0 to 1, is its place."""
    first = (at * (size - side + 1)).floor()
    pixels = torch.arange(size)
    return (pixels >= first[:, None]) & (pixels < (first + side)[:, None])


def _crops(count: int, least: float, generator: torch.Generator) -> Tensor:
    """Returns the maps from a crop's coordinates to the image's: (B, 2, 3), as `affine_grid` takes them."""
    area, ratio, row, column = _uniform(4, count, generator)
    area = _between(area, least, 1)
    # A large crop is nearly square: no side is longer than the image's.
    ratio = (_between(ratio, -1, 1) * area.log().neg().clamp(max=math.log(_RATIO))).exp()
    width, height = ((area * each).sqrt() for each in (ratio, 1 / ratio))
    maps = torch.zeros(count, 2, 3)
    maps[:, 0, 0], maps[:, 1, 1] = width, height
    maps[:, 0, 2], maps[:, 1, 2] = (2 * column - 1) * (1 - width), (2 * row - 1) * (1 - height)
    return maps


def _moved(images: Tensor, maps: Tensor) -> Tensor:
    """Returns images looked up at affine maps, (B, 2, 3), of their coordinates, bilinearly."""
    grid = F.affine_grid(maps.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _rotation(signed: Tensor) -> Tensor:
    angle = signed * math.radians(30)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)


def _entry(row: int, column: int, most: float) -> Callable[[Tensor], Tensor]:
    """Returns what makes a map that differs from the identity in one place."""

    def make(signed: Tensor) -> Tensor:
        maps = torch.eye(2, 3).repeat(len(signed), 1, 1)
        maps[:, row, column] += signed * most
        return maps

    return make


# By how much of an image's half side, at the highest magnitude: 0.3 for shears, 0.45 of a side for translations.
_MOVES = (_rotation, _entry(0, 1, 0.3), _entry(1, 0, 0.3), _entry(0, 2, 0.9), _entry(1, 2, 0.9))


def _randomly_changed(images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
    """Returns images after one operation each, of a random kind: the identity, a move, or a change of colors."""
    count, kinds = len(images), 1 + len(_MOVES) + len(COLOR_CHANGES)
    kind = torch.randint(kinds, (count,), generator=generator)
    signed = torch.where(torch.rand(count, generator=generator) < 0.5, -magnitude, magnitude)
    images = images.clone()
    for number in kind.unique().tolist():
        chosen = (kind == number).nonzero().view(-1)
        there = chosen.to(images.device)
        if 1 <= number <= len(_MOVES):
            images[there] = _moved(images[there], _MOVES[number - 1](signed[chosen]))
        elif number:
            change = COLOR_CHANGES[number - 1 - len(_MOVES)]
            images[there] = change(images[there], signed[chosen].to(images.device)).clamp(0, 1)
    return images
