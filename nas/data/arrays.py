"""Images stored as one array: digits, .npz and IDX."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nas.data.dataset import Chunk
from nas.data.pixel_range import PixelRange
from nas.errors import DataError

PIXEL_KINDS = "biuf"
"""NumPy dtype kinds that pixels may have: booleans, integers and floats."""

CHUNK_VALUES = 2**24
"""Pixel values converted at a time, to bound the memory of the conversion."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArrayPart:
    """A `Part` stored as one array, which is read on demand.

    Args:
        labels: Class indices, int64 (N,).
        read: Returns the array, (N, H, W, C), in any type that `eight_bit` accepts.
        raw_bytes: The array's size in bytes.
        what: The array's name, for messages.
        deep: Whether it holds whole numbers that may be of more than 8 bits, so that it is read twice.
    """

    labels: Tensor
    read: Callable[[], np.ndarray]
    raw_bytes: int
    what: str
    deep: bool = False

    @property
    def transient_bytes(self) -> int:
        return self.raw_bytes

    def pixel_range(self) -> PixelRange | None:
        return PixelRange.of(self.read()) if self.deep else None

    def chunks(self, *, resolution: int, channels: int, pixel_range: PixelRange | None) -> Iterator[Chunk]:
        array = self.read()
        assert (len(array), array.shape[3]) == (len(self.labels), channels), array.shape
        step = max(CHUNK_VALUES // (array[0].size or 1), 1)
        for start in range(0, len(array), step):
            pixels = torch.from_numpy(eight_bit(array[start : start + step], pixel_range, what=self.what))
            yield Chunk(start=start, images=center_square(pixels, resolution), failed={})


def image_shape(shape: tuple[int, ...], *, what: str) -> tuple[int, int, int]:
    """Returns (height, width, channels) of an array (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels.

    Raises:
        DataError: If it has none of these shapes, or is empty.
    """
    if len(shape) == 3:
        found = (shape[1], shape[2], 1)
    elif len(shape) == 4 and shape[3] in (1, 3):
        found = (shape[1], shape[2], shape[3])
    elif len(shape) == 4 and shape[1] in (1, 3):
        found = (shape[2], shape[3], shape[1])
    else:
        raise DataError(
            f"{what} must have shape (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels, but has"
            f" {shape}: reshape it to (N, H, W) or (N, H, W, 3)."
        )
    if 0 in shape:
        raise DataError(f"{what} holds no pixels, its shape is {shape}: save at least a few images per class.")
    return found


def channels_last(array: np.ndarray) -> np.ndarray:
    """Returns the array as (N, H, W, C), a view; interprets shapes as `image_shape` does."""
    if array.ndim == 3:
        return array[..., None]
    return array if array.shape[3] in (1, 3) else array.transpose(0, 2, 3, 1)


def eight_bit(pixels: np.ndarray, pixel_range: PixelRange | None = None, *, what: str) -> np.ndarray:
    """Converts pixels to uint8: floats must be in [0, 1], integers are scaled.

    Args:
        pixel_range: Of the integers; None is that of these pixels alone.

    Raises:
        DataError: If floats are not.
    """
    kind = pixels.dtype.kind
    assert kind in PIXEL_KINDS, pixels.dtype
    if pixels.dtype == np.uint8:
        return np.require(pixels, requirements=["C", "W"])
    if kind == "b":
        return np.where(pixels, np.uint8(255), np.uint8(0))
    if kind in "iu":
        return (pixel_range or PixelRange.of(pixels)).scaled(pixels)
    with np.errstate(invalid="ignore"):
        low, high = pixels.min(), pixels.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(f"Pixels must be finite, but {what} has NaN or infinite ones: drop those images.")
    if low < 0 or high > 1:
        raise DataError(
            f"Float pixels must lie in [0, 1], but {what} has {low:.4g} to {high:.4g}: divide by 255, undo"
            " a normalization, or save uint8."
        )
    return np.rint(pixels.astype(np.float32, copy=False) * 255).astype(np.uint8)


def center_square(pixels: Tensor, resolution: int) -> Tensor:
    """Returns center crops, square, resized to `resolution`: downscaling is antialiased, upscaling bilinear.

    Args:
        pixels: uint8 (n, H, W, C).

    Returns:
        uint8 (n, resolution, resolution, C).
    """
    height, width = pixels.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[:, top : top + side, left : left + side]
    if side == resolution:
        return square
    planes = square.permute(0, 3, 1, 2)
    scaled = interpolate(planes, size=(resolution, resolution), mode="bilinear", antialias=True)
    return scaled.permute(0, 2, 3, 1)
