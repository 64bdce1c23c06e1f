"""Random views of images for self-supervised training."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from nas.data import Augment

_LEAST_AREA, _MOST_RATIO, _JITTER = 0.3, 4 / 3, 0.4


def random_view(images: torch.Tensor, generator: torch.Generator, *, augment: Augment) -> torch.Tensor:
    """Returns one view of each of (B, C, R, R) normalized images, of the same shape.

    A random crop of at least 0.3 of the area and aspect ratio up to 4:3, resized to the full square; flipped half the
    time if `augment` is "crop-flip"; contrast, brightness and (for color images) each channel are jittered by up to
    0.4. With "none" only jitter is applied. BYOL (Grill et al. 2020, arXiv:2006.07733) also uses blur, solarization and
    grayscale.

    Args:
        generator: A generator on the CPU.
    """
    count, channels = images.shape[:2]

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(count, *shape, generator=generator) * (high - low) + low

    if augment != "none":
        area = uniform(_LEAST_AREA, 1)
        ratio = (uniform(-1, 1) * math.log(_MOST_RATIO)).exp()
        width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        x, y = uniform(-1, 1) * (1 - width), uniform(-1, 1) * (1 - height)
        mirrored = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0) if augment == "crop-flip" else torch.ones(count)
        zero = torch.zeros(count)
        rows = torch.stack([width * mirrored, zero, x]), torch.stack([zero, height, y])
        maps = torch.stack(rows).permute(2, 0, 1).to(images.device)
        grid = F.affine_grid(maps, list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    contrast = 1 + uniform(-_JITTER, _JITTER, 1, 1, 1)
    tint = uniform(-_JITTER, _JITTER, channels, 1, 1) / (2 if channels > 1 else 1)
    brightness = uniform(-_JITTER, _JITTER, 1, 1, 1) / 2
    images = images * contrast.to(images.device) + (brightness + tint).to(images.device)
    return images.contiguous(memory_format=torch.channels_last)
