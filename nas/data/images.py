"""From one encoded image to a square of 8-bit pixels, by Pillow."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps

from nas.data.messages import in_one_line

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F"})
# Of all that Pillow reads, what people keep photographs in. It looks at the content and not at the name, and for
# PostScript, say, it would start another program.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA")
MOST_PIXELS = 2**26
"""What is decoded at most, in pixels: several images are in memory at once, each more than once."""


class UnreadableImageError(Exception):
    """An image file that Pillow cannot read, or reads as something that has no 8-bit form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What an image's header says."""

    width: int
    height: int
    grey: bool


def glance(source: str | bytes) -> Glance:
    """Reads the header of an image file (a path) or of its content (bytes).

    Raises:
        UnreadableImageError: If it is no image.
    """
    try:
        with _opened(source) as image:
            return Glance(width=image.width, height=image.height, grey=_is_grey(image))
    except UnreadableImageError:
        raise
    except Exception as error:  # a broken file makes Pillow raise nearly anything
        raise UnreadableImageError(reason(error)) from error


def decode(source: str | bytes, *, resolution: int, channels: int) -> np.ndarray:
    """Reads an image upright, its centre square scaled to `resolution`.

    Shrinking is antialiased, enlarging bilinear. Transparent pixels show white.

    Args:
        source: A path, or the content of an image file.
        channels: 1 for grey, 3 for colour, whatever the file holds.

    Returns:
        uint8 (resolution, resolution, channels).

    Raises:
        UnreadableImageError: If it cannot be read.
    """
    mode = "L" if channels == 1 else "RGB"
    try:
        with _opened(source) as opened:
            # A JPEG can be decoded at a half, quarter or eighth; twice the target leaves the antialiasing its
            # work.
            opened.draft(mode, (2 * resolution, 2 * resolution))
            if opened.width * opened.height > MOST_PIXELS:
                raise UnreadableImageError(f"{opened.width}x{opened.height} pixels, more than {MOST_PIXELS:,}")
            opened.load()
            image = _eight_bit(_upright(opened), mode)
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        square = image.resize((resolution, resolution), Image.Resampling.BILINEAR, box=box)
    except UnreadableImageError:
        raise
    except Exception as error:  # as above
        raise UnreadableImageError(reason(error)) from error
    return np.asarray(square).reshape(resolution, resolution, channels)


def reason(error: Exception) -> str:
    """An exception as a short phrase, without the file's name, which the message around it has."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return in_one_line(error)


def _opened(source: str | bytes) -> Image.Image:
    if isinstance(source, bytes):
        return Image.open(BytesIO(source), formats=_formats())
    if not stat.S_ISREG(os.stat(source).st_mode):  # opening a pipe would wait for somebody to write to it
        raise UnreadableImageError("not a file")
    return Image.open(source, formats=_formats())


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this build of Pillow knows."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P":
        palette = image.getpalette("RGB") or []
        return palette[0::3] == palette[1::3] == palette[2::3]
    return image.mode in GREY_MODES or image.mode.startswith("I;")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF data does not make the pixels unreadable
        return image


def _eight_bit(image: Image.Image, mode: str) -> Image.Image:
    """The image in mode "L" or "RGB"."""
    if image.mode == "F" or image.mode.startswith("I"):
        image = Image.fromarray(_from_deep_pixels(np.asarray(image), image.mode))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _from_deep_pixels(pixels: np.ndarray, mode: str) -> np.ndarray:
    """16-bit integers, or floats in [0, 1], as uint8."""
    highest, scale = (1.0, 255.0) if mode == "F" else (65535, 1 / 257)
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= highest):
        raise UnreadableImageError(f"pixels of {low} to {high} where 0 to {highest} was expected")
    return np.rint(pixels.astype(np.float32) * scale).astype(np.uint8)
