"""Where the images of a data set are kept once they are decoded: in memory, or in a file that is mapped into it."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from nas.data.memory import fits_memory, gigabytes, require_memory
from nas.errors import DataError
from nas.machine import cache_folder
from nas.progress import Progress

Allocate: TypeAlias = Callable[[tuple[int, ...]], Tensor]
"""Gives room for pixels, uint8, of a shape; what is in it is not defined."""
DISK_SHARE = 0.9
"""Share of the free space of the disk that images may take."""

_LARGE = 10**9
"""Bytes from which on it is said what the reading takes."""


def choose_storage(
    *, images: int, channels: int, resolution: int, transient_bytes: int, name: str, progress: Progress
) -> tuple[Allocate, bool]:
    """Returns what allocates the images of a data set, and whether that is on disk.

    What fits in memory is kept there. Otherwise decoded images are in a file of the cache folder that has no name and
    is gone when the process ends; the operating system keeps in memory what is used, and `Batches` read ahead.

    Args:
        images: Number of images in all splits.
        transient_bytes: Additional memory during reading.
        name: The data set's, for messages.

    Raises:
        DataError: If they fit neither in memory nor on the disk.
    """
    needed = images * channels * resolution**2
    if fits_memory(needed + transient_bytes):
        if needed + transient_bytes >= _LARGE:
            progress.note(f"{name}: up to {gigabytes(needed + transient_bytes)} of memory while it is read")
        return _in_memory, False
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free * DISK_SHARE or not fits_memory(transient_bytes):
        require_memory(images=images, channels=channels, resolution=resolution, transient_bytes=transient_bytes)
    progress.note(
        f"The {images:,} images of {name} at {resolution}x{resolution} take {gigabytes(needed)}, more than the "
        f"memory has free: decoded images are in {folder} while this runs, and read from there"
    )
    return lambda shape: _on_disk(shape, folder), True


def _in_memory(shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, dtype=torch.uint8)


def _on_disk(shape: tuple[int, ...], folder: Path) -> Tensor:
    """Returns a tensor whose memory is a file without a name, with its room on the disk reserved.

    Raises:
        DataError: If the disk is full.
    """
    size = math.prod(shape)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate") and size:
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            pixels = np.memmap(file, dtype=np.uint8, mode="r+", shape=shape) if size else np.empty(shape, np.uint8)
    except OSError as fault:
        raise DataError(
            f"Cannot keep {gigabytes(size)} of images in {folder}: {fault.strerror}. Free some space, or lower "
            "--train-resolution."
        ) from None
    return torch.from_numpy(pixels)
