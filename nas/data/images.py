"""From one encoded image to a square of 8-bit pixels, by Pillow."""

from __future__ import annotations

import importlib
import importlib.util
import os
import stat
import struct
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import IO

import numpy as np
from PIL import Image, ImageOps

from nas.data.memory import available_bytes
from nas.data.messages import in_one_line
from nas.data.pixel_range import PixelRange

GREY_MODES = frozenset({"1", "L", "LA", "La", "F"})
# Of all that Pillow reads, what people keep photographs in. It looks at the content and not at the name, and for
# PostScript, say, it would start another program.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM", "HEIF", "TGA")
LARGE = 2**26
"""Images of more pixels are decoded one at a time, and only where the memory allows it."""
_PIXEL_BYTES = 12
"""Memory that a decoded pixel takes while an image is turned, converted and scaled."""
_COEFFICIENT_BYTES = 6
"""Memory that a progressive JPEG takes for each pixel at full size, however small it is decoded."""
_MEMORY_SHARE = 0.5
_one_large_at_a_time = threading.Lock()


class UnreadableImageError(Exception):
    """An image file that Pillow cannot read, or reads as something that has no 8-bit form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What an image's header says."""

    width: int
    height: int
    grey: bool
    deep: bool


def glance(source: str | bytes) -> Glance:
    """Reads the header of an image file (a path) or of its content (bytes).

    Raises:
        UnreadableImageError: If it is no image.
    """
    try:
        with _opened(source) as image:
            return Glance(width=image.width, height=image.height, grey=_is_grey(image), deep=_is_deep(image))
    except UnreadableImageError:
        raise
    except Exception as error:  # a broken file makes Pillow raise nearly anything
        raise UnreadableImageError(reason(error)) from error


def deep_range(source: str | bytes) -> PixelRange | None:
    """The range of an image's pixels, where they are whole numbers of more than 8 bits; None for others.

    Raises:
        UnreadableImageError: If it cannot be read.
    """
    try:
        with _opened(source) as image:
            if not _is_deep(image):
                return None
            with _room_for(image, image.width * image.height):
                return PixelRange.of(np.asarray(image))
    except UnreadableImageError:
        raise
    except Exception as error:  # as above
        raise UnreadableImageError(reason(error)) from error


def decode(source: str | bytes, *, resolution: int, channels: int, pixel_range: PixelRange | None = None) -> np.ndarray:
    """Reads an image upright, its centre square scaled to `resolution`.

    Shrinking is antialiased, enlarging bilinear. Transparent pixels show white.

    Args:
        source: A path, or the content of an image file.
        channels: 1 for grey, 3 for colour, whatever the file holds.
        pixel_range: Of the data set's pixels where they have more than 8 bits; None is that of this image.

    Returns:
        uint8 (resolution, resolution, channels).

    Raises:
        UnreadableImageError: If it cannot be read.
    """
    mode = "L" if channels == 1 else "RGB"
    try:
        with _opened(source) as opened:
            pixels = opened.width * opened.height
            # A JPEG can be decoded at a half, quarter or eighth; twice the target leaves the antialiasing its
            # work.
            opened.draft(mode, (2 * resolution, 2 * resolution))
            with _room_for(opened, pixels):
                opened.load()
                image = _eight_bit(_upright(opened), mode, pixel_range)
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


@contextmanager
def _opened(source: str | bytes) -> Generator[Image.Image, None, None]:
    if isinstance(source, str) and not stat.S_ISREG(os.stat(source).st_mode):
        raise UnreadableImageError("not a file")  # opening a pipe would wait for somebody to write to it
    with BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file, _identified(file) as image:
        yield image


def _identified(file: IO[bytes]) -> Image.Image:
    """What `PIL.Image.open` gives, of any size: it refuses a phone's photograph of 200 megapixels, whose size is in the
    header, before there is a chance to decode it small. `_room_for` looks at the size instead.

    Raises:
        UnreadableImageError: If it is no image.
    """
    prefix = file.read(16)
    for name in _formats():
        factory, accepts = Image.OPEN[name]
        with suppress(SyntaxError, IndexError, TypeError, struct.error):
            accepted = accepts is None or accepts(prefix)
            if accepted and not isinstance(accepted, str):  # a text says why a file of the format cannot be read
                file.seek(0)
                return factory(file, "")
    raise UnreadableImageError("not an image")


@contextmanager
def _room_for(image: Image.Image, pixels: int) -> Generator[None, None, None]:
    """Lets large images be decoded one after the other, where the memory holds them.

    Args:
        image: At the size at which it will be decoded.
        pixels: As many as the file holds.

    Raises:
        UnreadableImageError: If it does not.
    """
    if pixels <= LARGE:
        yield
        return
    with _one_large_at_a_time:
        needed = image.width * image.height * _PIXEL_BYTES
        needed += pixels * _COEFFICIENT_BYTES if image.info.get("progressive") else 0
        free = available_bytes()
        if free is not None and needed > free * _MEMORY_SHARE:
            raise UnreadableImageError(
                f"{pixels / 1e6:,.0f} megapixels, which take {needed / 1e9:,.1f} GB of memory where"
                f" {free / 1e9:,.1f} GB are free"
            )
        yield


@cache
def reads_heif() -> bool:
    """Whether HEIC is read, by the optional package `pillow-heif`."""
    if importlib.util.find_spec("pillow_heif") is None:
        return False
    importlib.import_module("pillow_heif").register_heif_opener()
    return True


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this build of Pillow knows."""
    Image.init()
    reads_heif()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P":
        palette = image.getpalette("RGB") or []
        return palette[0::3] == palette[1::3] == palette[2::3]
    return image.mode in GREY_MODES or _is_deep(image)


def _is_deep(image: Image.Image) -> bool:
    """Whether pixels are whole numbers of 16 or 32 bits."""
    return image.mode.startswith("I")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF data does not make the pixels unreadable
        return image


def _eight_bit(image: Image.Image, mode: str, pixel_range: PixelRange | None) -> Image.Image:
    """The image in mode "L" or "RGB"."""
    if _is_deep(image):
        pixels = np.asarray(image)
        image = Image.fromarray((pixel_range or PixelRange.of(pixels)).scaled(pixels))
    elif image.mode == "F":
        image = Image.fromarray(_from_floats(np.asarray(image)))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _from_floats(pixels: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] as uint8."""
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= 1):
        raise UnreadableImageError(f"pixels of {low} to {high} where 0 to 1.0 was expected")
    return np.rint(pixels.astype(np.float32) * 255).astype(np.uint8)
