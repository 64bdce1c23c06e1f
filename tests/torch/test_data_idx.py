import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.data import open_data
from nas.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
LABELS = (np.arange(30) % 3).astype(np.uint8)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(folder: Path, *, suffix: str = "", separator: str = "-", **changes: bytes | None) -> Path:
    """MNIST's four files; `changes` replaces contents, None leaves a file out."""
    contents = {
        "train_images": idx(PIXELS),
        "train_labels": idx(LABELS),
        "t10k_images": idx(PIXELS[:6]),
        "t10k_labels": idx(LABELS[:6]),
    } | changes
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        if content is not None:
            rank = 3 if name.endswith("images") else 1
            path = folder / f"{name.replace('_', '-')}{separator}idx{rank}-ubyte{suffix}"
            path.write_bytes(gzip.compress(content) if suffix == ".gz" else content)
    return folder


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("separator", ["-", "."])
def test_a_folder_of_idx_files_is_read(tmp_path, suffix, separator):
    source = open_data(write(tmp_path / "mnist", suffix=suffix, separator=separator))
    info = source.info
    assert (info.name, info.kind, info.channels, info.height, info.width) == ("mnist", "idx", 1, 8, 8)
    assert (info.train_count, info.test_count, info.num_classes, info.glyphs) == (30, 6, 3, True)
    data = source.load(resolution=8, seed=0)
    assert torch.equal(data.test.images[:, 0], torch.from_numpy(PIXELS[:6]))
    assert data.test.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert (len(data.train), len(data.search_validation)) == (24, 6)


def test_without_test_files_a_test_split_is_made(tmp_path):
    data = open_data(write(tmp_path / "a", t10k_images=None, t10k_labels=None)).load(resolution=8, seed=0)
    assert (len(data.train), len(data.search_validation), len(data.test)) == (19, 5, 6)


def test_a_file_and_its_gz_are_one(tmp_path):
    write(tmp_path / "a", suffix=".gz", train_images=b"broken")
    assert open_data(write(tmp_path / "a")).info.train_count == 30


def test_colour_images_are_read(tmp_path):
    colour = np.repeat(PIXELS[..., None], 3, axis=3)
    folder = write(tmp_path / "a", train_images=idx(colour), t10k_images=None, t10k_labels=None)
    assert open_data(folder).info.channels == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels": None}, "none of the train labels: add train-labels-idx1-ubyte or its .gz"),
        ({"t10k_images": None}, "none of the test images: add t10k-images-idx3-ubyte"),
        ({"train_images": b""}, "train-images-idx3-ubyte is not an IDX file, it starts with 0x: download"),
        ({"train_images": b"<html>"}, "is not an IDX file, it starts with 0x3c68746d: download it again"),
        ({"train_images": b"\0\0\x08\x09"}, "is not an IDX file"),
        ({"train_images": idx(PIXELS.astype(">f4"), 0x0D)}, r"unsigned bytes \(type 0x08\), but has 0x0d"),
        ({"train_images": idx(PIXELS)[:10]}, "ends within its header"),
        ({"train_images": idx(PIXELS)[:-1]}, "must hold 1,920 bytes after its header, but has 1,919"),
        ({"train_images": idx(PIXELS) + b"x"}, "must hold 1,920 bytes after its header, but has 1,921"),
        ({"train_labels": idx(LABELS)[:-1]}, "must hold 30 bytes after its header, but has 29: download"),
        ({"train_labels": idx(LABELS[:29])}, "has 30 images, but .* has 29 labels: use a matching pair"),
        ({"train_labels": idx(PIXELS)}, "must hold one label per image, but has shape"),
        ({"train_images": idx(LABELS)}, "must have shape"),
        (
            {"train_labels": idx(LABELS * 0), "t10k_labels": idx(LABELS[:6] * 0)},
            "at least 2 classes, but .* has only '0'",
        ),
        ({"t10k_labels": idx(LABELS[:6] + 5)}, "classes that the training set lacks: 5, 6, 7; add"),
        ({"t10k_images": idx(np.repeat(PIXELS[:6, ..., None], 3, axis=3))}, "have different channels"),
    ],
)
def test_malformed_files_are_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=message) as caught:
        open_data(write(tmp_path / "a", **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(idx(PIXELS)[:-5]), "must hold 1,920 bytes after its header, but has 1,915"),
        (gzip.compress(idx(PIXELS) + b"x"), "must hold 1,920 bytes after its header, but has more"),
        (gzip.compress(idx(PIXELS))[:-300], "is damaged or cut short"),
    ],
)
def test_gzipped_files_of_a_wrong_size_are_refused_on_loading(tmp_path, content, message):
    folder = write(tmp_path / "a", suffix=".gz")
    (folder / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_data(folder).load(resolution=8, seed=0)


def test_a_gz_that_is_none_is_refused(tmp_path):
    folder = write(tmp_path / "a", suffix=".gz")
    (folder / "train-images-idx3-ubyte.gz").write_bytes(idx(PIXELS))
    with pytest.raises(DataError, match="cannot be read .*: download it again"):
        open_data(folder)


def test_two_data_sets_in_a_folder_are_refused(tmp_path):
    folder = write(tmp_path / "a")
    (folder / "emnist-letters-train-images-idx3-ubyte").write_bytes(idx(PIXELS))
    with pytest.raises(DataError, match="IDX files of 2 data sets .*emnist-letters-.*: keep one per folder"):
        open_data(folder)
