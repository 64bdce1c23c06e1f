"""Images stored as files or file contents: folders and the Hugging Face hub."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from nas.data.dataset import Chunk
from nas.data.images import Glance, UnreadableImageError, decode, glance
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

    def chunks(self, *, resolution: int, channels: int) -> Iterator[Chunk]:
        decode_one = partial(_decoded, resolution=resolution, channels=channels)
        # Pillow releases the GIL while it decodes; more than a few threads would wait for the disk.
        with ThreadPoolExecutor(max_workers=min(8, available_cores())) as pool:
            for start in range(0, len(self.labels), CHUNK):
                indices = range(start, min(start + CHUNK, len(self.labels)))
                # Pillow warns of defects (broken EXIF, odd palettes) that are irrelevant to training.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
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
    """Reads the headers of up to 256 images, evenly spread.

    Raises:
        DataError: If none of them is an image.
    """
    count = min(len(part.labels), SAMPLE)
    seen: list[Glance] = []
    failures: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in (k * len(part.labels) // count for k in range(count)):
            try:
                seen.append(glance(part.fetch(i)))
            except UnreadableImageError as error:
                failures.append(f"{part.name(i)} ({error})")
    if not seen:
        raise DataError(
            f"None of the {count} images of {what} that were sampled can be read, starting with"
            f" {failures[0]}: replace them."
        )
    return Survey(
        width=int(statistics.median(item.width for item in seen)),
        height=int(statistics.median(item.height for item in seen)),
        channels=1 if all(item.grey for item in seen) else 3,
    )


def _decoded(source: str | bytes, *, resolution: int, channels: int) -> np.ndarray | str:
    """Returns the pixels, or the reason why the image cannot be read."""
    try:
        return np.array(decode(source, resolution=resolution, channels=channels))
    except UnreadableImageError as error:
        return str(error)
