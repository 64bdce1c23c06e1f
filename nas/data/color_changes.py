"""The operations of RandAugment that change colors and not places.

Each takes images, (B, C, H, W) from 0 to 1, and a signed magnitude per image, (B,) from -1 to 1, and returns images
that the caller clips. Where the sign has no meaning, the absolute value counts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LEVELS = 256
_ENHANCED = 0.9
"""By which the factor of brightness, contrast, color and sharpness differs from 1 at most."""


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _blended(base: Tensor, images: Tensor, signed: Tensor) -> Tensor:
    """Returns images farther from `base` for positive magnitudes, nearer to it for negative ones."""
    return torch.lerp(base, images, 1 + _ENHANCED * _per_image(signed))


def brightness(images: Tensor, signed: Tensor) -> Tensor:
    """Between black and a brighter image."""
    return _blended(torch.zeros_like(images), images, signed)


def contrast(images: Tensor, signed: Tensor) -> Tensor:
    """Between an even gray of the mean brightness and a starker image."""
    return _blended(images.mean((1, 2, 3), keepdim=True).expand_as(images), images, signed)


def color(images: Tensor, signed: Tensor) -> Tensor:
    """Between gray and more vivid colors; images of one channel stay as they are."""
    return _blended(images.mean(1, keepdim=True).expand_as(images), images, signed)


def sharpness(images: Tensor, signed: Tensor) -> Tensor:
    """Between a blurred and a sharper image; the outermost pixels stay as they are."""
    channels, size = images.shape[1], images.shape[-1]
    if size < 3:
        return images
    kernel = torch.ones(3, 3, device=images.device, dtype=images.dtype)
    kernel[1, 1] = 5
    blurred = images.clone()
    weight = (kernel / kernel.sum()).expand(channels, 1, 3, 3)
    blurred[:, :, 1:-1, 1:-1] = F.conv2d(images, weight, groups=channels)
    return _blended(blurred, images, signed)


def solarize(images: Tensor, signed: Tensor) -> Tensor:
    """Inverts what is brighter than a threshold, which sinks with the magnitude."""
    return torch.where(images >= 1 - _per_image(signed.abs()), 1 - images, images)


def posterize(images: Tensor, signed: Tensor) -> Tensor:
    """Keeps 8 to 4 bits of each value."""
    steps = 2 ** _per_image((4 * signed.abs()).round())
    return (images * (_LEVELS - 1)).round().div(steps).floor().mul(steps) / (_LEVELS - 1)


def autocontrast(images: Tensor, signed: Tensor) -> Tensor:
    """Stretches each channel to the whole range; an even channel stays as it is."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-6), images)


def equalize(images: Tensor, signed: Tensor) -> Tensor:
    """Makes all values of each channel about equally frequent; an even channel stays as it is."""
    values = (images * (_LEVELS - 1)).round().clamp(0, _LEVELS - 1).long().flatten(2).flatten(0, 1)
    counts = torch.zeros(len(values), _LEVELS, device=images.device).scatter_add_(
        1, values, torch.ones_like(values, dtype=torch.float32)
    )
    below = counts.cumsum(1) - counts
    # Of all but the brightest value that occurs, so that the darkest becomes 0 and the brightest 1.
    whole = values.shape[1] - counts.gather(1, values.amax(1, keepdim=True))
    table = below / whole.clamp(min=1)
    even = (whole == 0).view(len(images), -1, 1, 1)
    return torch.where(even, images, table.gather(1, values).view(images.shape))


COLOR_CHANGES = (brightness, contrast, color, sharpness, solarize, posterize, autocontrast, equalize)
