"""Whole-number pixels that are not 8-bit, scaled to 0..255 by the range that they have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class PixelRange:
    """The lowest and the highest pixel of some images.

    Cameras, microscopes and scanners keep 10, 12 or 15 bits in 16-bit files, so white is the highest number of as many
    bits as the highest pixel has, 255 at least. Where pixels are negative there are no such bits: the lowest is black
    and the highest white.
    """

    low: int
    high: int

    @classmethod
    def of(cls, pixels: np.ndarray) -> PixelRange:
        """The range of an array of whole numbers that is not empty."""
        return cls(int(pixels.min()), int(pixels.max()))

    @classmethod
    def union(cls, ranges: Iterable[PixelRange | None]) -> PixelRange | None:
        """The range of all images together; None where there are none."""
        known = [each for each in ranges if each is not None]
        return cls(min(each.low for each in known), max(each.high for each in known)) if known else None

    @property
    def black(self) -> int:
        return min(self.low, 0)

    @property
    def white(self) -> int:
        return max(255, (1 << self.high.bit_length()) - 1) if self.low >= 0 else max(self.high, self.low + 1)

    @property
    def is_eight_bit(self) -> bool:
        return (self.black, self.white) == (0, 255)

    def scaled(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels of any whole numbers as uint8; those out of the range become black or white."""
        wide = pixels.astype(np.float32 if pixels.dtype.itemsize <= 2 else np.float64)
        wide = (wide - self.black) * (255 / (self.white - self.black))
        return np.rint(wide).clip(0, 255).astype(np.uint8)

    def described(self, name: str) -> str:
        """A note for people."""
        return (
            f"Pixels of {name} are whole numbers from {self.low:,} to {self.high:,}: {self.black:,} is read as black,"
            f" {self.white:,} as white"
        )
