"""Images that do not fit in memory are kept in a file, and give the bits of those in memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nas.data import Batches, Dataset, memory, open_data, storage
from nas.data.encoded import EncodedPart
from nas.data.sharing import pack_data
from nas.errors import DataError
from nas.progress import Silent

from ..notes import Notes

SIZE, CLASSES, EACH = 16, 3, 12


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        folder = tmp_path / "photos" / f"class {label}"
        folder.mkdir(parents=True)
        for number in range(EACH):
            Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Images of this size do not fit; returns the cache folder."""
    reading = EncodedPart(labels=torch.zeros(1, dtype=torch.int64), fetch=str, name=str).transient_bytes
    monkeypatch.setattr(memory, "available_bytes", lambda: int((reading + 10_000) / memory.USABLE) + 2)
    monkeypatch.setattr(storage, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def read(photos: Path, progress: Any = None) -> Dataset:
    return open_data(photos).load(resolution=SIZE, seed=0, progress=progress or Silent())


def test_images_on_disk_are_those_in_memory(photos: Path, request: pytest.FixtureRequest) -> None:
    here = read(photos)
    cache, progress = request.getfixturevalue("little_memory"), Notes()
    there = read(photos, progress)
    assert (here.mean, here.std) == (there.mean, there.std)
    for name in ("train", "search_validation", "test"):
        a, b = getattr(here, name), getattr(there, name)
        assert (a.mapped, b.mapped, b.first(2).mapped) == (False, True, True)
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert a.images.stride() == b.images.stride()
        assert b"".join(a.content()) == b"".join(b.content())
    assert [note for note in progress.notes if f"decoded images are in {cache} while this runs" in note]
    assert list(cache.iterdir()) == [], "nothing is left behind, even by a kill"


def batches(data: Dataset) -> Batches:
    generator = torch.Generator().manual_seed(0)
    return Batches(
        data.train,
        batch_size=2,
        mean=data.mean,
        std=data.std,
        augment="crop-flip",
        generator=generator,
        shuffle=True,
    )


def test_batches_read_ahead_are_the_same_in_the_same_order(photos: Path, request: pytest.FixtureRequest) -> None:
    here = read(photos)
    request.getfixturevalue("little_memory")
    there = read(photos)
    expected = list(batches(here))
    found = list(batches(there))
    assert len(found) == len(expected) > 8
    for (a, x), (b, y) in zip(expected, found, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(x, y)
    assert torch.equal(next(batches(there).epoch(first_batch=5))[0], expected[5][0])
    started = batches(there).epoch()
    next(started)
    started.close()  # type: ignore[attr-defined]


def test_what_fits_neither_in_memory_nor_on_disk_is_refused(
    photos: Path, little_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(photos)
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(DataError, match=r"36 images at 16x16 need .* of memory.*, but only .* to 8"):
        read(photos)


def test_a_disk_that_fills_up_is_told(photos: Path, little_memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"Cannot keep .* of images in .*: No space left on device\. Free"):
        read(photos)


@pytest.mark.usefixtures("little_memory")
def test_workers_share_only_what_fits_in_memory(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = read(photos)
    monkeypatch.setattr(memory, "available_bytes", lambda: 4000)
    pack_data(data, train_images=2, validation_images=2)
    with pytest.raises(DataError, match="do not fit in memory, where workers share them: lower .* or use --workers 0"):
        pack_data(data)
