"""Images stored as files or file contents: folders and the Hugging Face hub."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from nas.data.dataset import Chunk
from nas.data.images import Glance, UnreadableImageError, decode, deep_range, glance
from nas.data.pixel_range import PixelRange
from nas.errors import DataError
from nas.machine import available_cores

CHUNK = 256
SAMPLE = 256
DECODING_BYTES = 256 * 2**20
"""Generous estimate of the memory of images being decoded, mostly photographs at full size."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedPart:
    """A `Part` of encoded images, decoded by threads on demand.

    Args:
        labels: Class indices, int64 (N,).
        fetch: Returns image `i` as a path or as the content of a file.
        name: Returns the name of image `i` for messages.
    """

    labels: Tensor
    fetch: Callable[[int], str | bytes]
    name: Callable[[int], str]

    @property
    def transient_bytes(self) -> int:
        return DECODING_BYTES

    def pixel_range(self) -> PixelRange | None:
        """Where one of a sample is of more than 8 bits, all images are decoded for it."""
        sample = [self.fetch(i) for i in _spread(len(self.labels))]
        with _quiet(), _threads() as pool:
            if not any(seen is not None and seen.deep for seen in pool.map(_glance, sample)):
                return None
            return PixelRange.union(pool.map(_deep_range, (self.fetch(i) for i in range(len(self.labels)))))

    def chunks(self, *, resolution: int, channels: int, pixel_range: PixelRange | None) -> Iterator[Chunk]:
        decode_one = partial(_decoded, resolution=resolution, channels=channels, pixel_range=pixel_range)
        with _threads() as pool:
            for start in range(0, len(self.labels), CHUNK):
                indices = range(start, min(start + CHUNK, len(self.labels)))
                with _quiet():
                    decoded = list(pool.map(decode_one, [self.fetch(i) for i in indices]))
                images = torch.zeros(len(decoded), resolution, resolution, channels, dtype=torch.uint8)
                failed: dict[int, str] = {}
                for offset, result in enumerate(decoded):
                    if isinstance(result, str):
                        failed[offset] = f"{self.name(start + offset)} ({result})"
                    else:
                        images[offset] = torch.from_numpy(result)
                yield Chunk(start=start, images=images, failed=failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Properties of a sample of images: the median size, and 1 channel if all are gray."""

    width: int
    height: int
    channels: int


def survey(part: EncodedPart, *, what: str) -> Survey:
    """Reads the headers of up to 256 images, evenly spread; of all where these are grey, until one is in color.

    Raises:
        DataError: If none of the sample is an image.
    """
    sample = _spread(len(part.labels))
    seen: list[Glance] = []
    failures: list[str] = []
    with _quiet():
        for i in sample:
            try:
                seen.append(glance(part.fetch(i)))
            except UnreadableImageError as error:
                failures.append(f"{part.name(i)} ({error})")
    if not seen:
        raise DataError(
            f"None of the {len(sample)} images of {what} that were sampled can be read, starting with"
            f" {failures[0]}: replace them."
        )
    return Survey(
        width=int(statistics.median(item.width for item in seen)),
        height=int(statistics.median(item.height for item in seen)),
        channels=1 if all(item.grey for item in seen) and _all_grey(part) else 3,
    )


def _all_grey(part: EncodedPart) -> bool:
    """Returns whether no image has a color header; one class of many may be the only one in color."""
    with _quiet(), _threads() as pool:
        for start in range(0, len(part.labels), CHUNK):
            indices = range(start, min(start + CHUNK, len(part.labels)))
            if not all(seen is None or seen.grey for seen in pool.map(_glance, map(part.fetch, indices))):
                return False
    return True


def _spread(count: int) -> list[int]:
    """Returns up to 256 indices, evenly spread."""
    few = min(count, SAMPLE)
    return [k * count // few for k in range(few)]


def _threads() -> ThreadPoolExecutor:
    # Pillow releases the GIL while it decodes; more than a few threads would wait for the disk.
    return ThreadPoolExecutor(max_workers=min(8, available_cores()))


@contextmanager
def _quiet() -> Generator[None, None, None]:
    """Silences Pillow's warnings of defects (broken EXIF, odd palettes), which are irrelevant to training."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _glance(source: str | bytes) -> Glance | None:
    try:
        return glance(source)
    except UnreadableImageError:
        return None


def _deep_range(source: str | bytes) -> PixelRange | None:
    try:
        return deep_range(source)
    except UnreadableImageError:
        return None


def _decoded(
    source: str | bytes, *, resolution: int, channels: int, pixel_range: PixelRange | None
) -> np.ndarray | str:
    """Returns the pixels, or the reason why the image cannot be read."""
    try:
        return np.array(decode(source, resolution=resolution, channels=channels, pixel_range=pixel_range))
    except UnreadableImageError as error:
        return str(error)
