"""Data and networks that are made to do harm, or damaged so that libraries raise what they please."""

from __future__ import annotations

import io
import os
import subprocess
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas.architecture import Architecture
from nas.costs import cost
from nas.data import images, memory, open_data
from nas.data.images import UnreadableImageError, decode, glance
from nas.data.labels import Classes, plain_labels
from nas.errors import ArchitectureError, DataError
from nas.progress import Silent


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, "PNG")
    return file.getvalue()


def test_postscript_is_no_image_and_starts_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", start)
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n"
    for read in (lambda: glance(program), lambda: decode(program, resolution=8, channels=3)):
        with pytest.raises(UnreadableImageError, match="not an image"):
            read()


def test_an_image_beyond_the_memory_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    content = png(1000, 1000)
    monkeypatch.setattr(images, "LARGE", 1000 * 1000 - 1)
    monkeypatch.setattr(images, "available_bytes", lambda: 24_000_000)
    assert decode(content, resolution=8, channels=1).shape == (8, 8, 1)
    monkeypatch.setattr(images, "available_bytes", lambda: 23_000_000)
    with pytest.raises(UnreadableImageError, match="1 megapixels, which take 0.0 GB of memory where 0.0 GB are free"):
        decode(content, resolution=8, channels=1)


def test_sizes_that_pillow_refuses_by_their_headers_are_judged_by_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(png(64, 64)))
    assert (glance(png(64, 64)).width, decode(png(64, 64), resolution=8, channels=1).shape) == (64, (8, 8, 1))


def test_a_large_jpeg_is_decoded_small(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.new("L", (256, 256), 100).save(file, "JPEG")
    monkeypatch.setattr(images, "LARGE", 64 * 64)
    monkeypatch.setattr(images, "available_bytes", lambda: 2 * 12 * 32 * 32)  # a fraction of 256 x 256
    assert decode(file.getvalue(), resolution=16, channels=1).mean() == pytest.approx(100, abs=2)


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for read in (lambda p: glance(p), lambda p: decode(p, resolution=8, channels=3)):
        with pytest.raises(UnreadableImageError, match="not a file"):
            read(str(tmp_path / "pipe.png"))


class Recorder(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    def start(self, phase: str, total: int, unit: str) -> None:
        self.told.append(f"start {total}")

    def note(self, text: str) -> None:
        self.told.append(text)


def folder(root: Path, corrupt: int) -> str:
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for i in range(8):
            shade = Image.new("L", (8, 8), i)
            shade.save(root / label / f"{i}.png")
    for i in range(corrupt):
        (root / "cat" / f"bad{i}.png").write_bytes(b"x")
    return str(root)


def test_images_that_are_left_out_are_counted_and_some_named(tmp_path: Path) -> None:
    progress = Recorder()
    data = open_data(folder(tmp_path, 7)).load(resolution=8, seed=0, progress=progress)
    assert len(data.skipped) == 7
    assert progress.told[0] == "start 23"
    assert progress.told[1].startswith("7 of 23 images cannot be read and are left out: cat/bad")
    assert progress.told[1].endswith(" and 2 more")


def test_data_that_is_refused_at_once_is_not_announced(tmp_path: Path) -> None:
    progress = Recorder()
    with pytest.raises(DataError, match="cat/bad0.png"):
        open_data(folder(tmp_path, 1), on_corrupt="refuse").load(resolution=8, seed=0, progress=progress)
    assert progress.told == []


def write(path: Path, **members: bytes) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return str(path)


def array(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(values))
    return file.getvalue()


X, Y = np.arange(12 * 16, dtype=np.uint8).reshape(12, 4, 4), np.arange(12) % 2


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<i8', 'fortran_order': False, 'shape': (12,), }" + b"(" * 200,
        b"{'descr': " + b"-" * 3000 + b"1, 'fortran_order': False, 'shape': (12,), }",
        b"{'descr': [('a', ), ], 'fortran_order': False, 'shape': (12,), }",
        b"{'descr': '<i8', 'fortran_order': False, 'shape': (1e3,), }",
        b"__import__('os').system('exit 1')",
        b"\xff\xfe",
    ],
    ids=["brackets", "signs", "fields", "shape", "program", "bytes"],
)
def test_headers_of_any_kind_are_refused(tmp_path: Path, header: bytes) -> None:
    content = b"\x93NUMPY\x02\0" + len(header).to_bytes(4, "little") + header + bytes(96)
    with pytest.raises(DataError, match="save"):
        open_data(write(tmp_path / "a.npz", x_train=array(X), y_train=content)).load(resolution=8, seed=0)


def test_only_what_is_ours_is_read_of_an_archive(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", x_train=array(X), y_train=array(Y), extra=b"damaged")
    assert open_data(path).info.num_classes == 2


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_labels_of_any_float_type_are_read_without_a_warning(dtype: type) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plain_labels(np.array([0, 1, 1000], dtype=dtype), what="y").tolist() == [0, 1, 1000]
        for wrong in (np.inf, np.nan):
            with pytest.raises(DataError, match="whole numbers"):
                plain_labels(np.array([0, wrong], dtype=dtype), what="y")


def test_labels_beyond_what_a_double_counts_are_refused() -> None:
    assert plain_labels(np.array([2.0**53 - 1]), what="y").tolist() == [2**53 - 1]
    with pytest.raises(DataError, match="9007199254740992"):
        plain_labels(np.array([2.0**53]), what="y")


def test_strings_that_are_no_text_are_refused() -> None:
    with pytest.raises(DataError, match="no text"):
        plain_labels(np.frombuffer(b"\xff\xff\xff\x7f" * 2, dtype="<U1"), what="y")


def test_class_names_can_be_written_to_any_file() -> None:
    labels = np.array(["caf\udce9", "a\nb", "\x1b[31m", "ключ"])
    names = Classes.of(labels, what="y").names
    assert all(name.isprintable() for name in names)
    assert "ключ" in names
    assert " ".join(names).encode()


def test_what_does_not_fit_the_memory_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**9)
    memory.require_bytes(7 * 10**8, what="classes")
    with pytest.raises(DataError, match=r"classes needs 0.9 GB of memory, but only 0.8 GB .*: check how it was saved"):
        memory.require_bytes(9 * 10**8, what="classes")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"norm": {"op": "conv", "width": 8, "stride": 2}, "shortcut": None},
            r"gives \(8, 2, 2\) .* but its shortcut gives",
        ),
        ({"norm": {"op": "classifier"}}, r"cannot run on .*\. Check its norm, shortcut and sizes"),
        (
            {"mixer": {"op": "conv", "width": 2**20, "kernel_size": 2**20 - 1, "padding": 2**20}},
            r"cannot run on .*\. Check its norm, shortcut and sizes",
        ),
    ],
    ids=["smaller", "flat", "vast"],
)
def test_blocks_that_torch_cannot_run_are_refused_when_they_are_counted(changes: dict[str, Any], said: str) -> None:
    branch = {"mixer": {"op": "conv", "width": 8}, "shortcut": {"op": "none"}, **changes}
    data = {
        "format": 2,
        "input": {"resolution": 8},
        "stem": {"op": "conv_stem", "width": 8},
        "stages": [{"layers": [{"branches": [branch]}]}],
        "head": {"op": "classifier"},
    }
    with pytest.raises(ArchitectureError, match=rf"stage 1 \(its input 8x4x4\): conv {said}"):
        cost(Architecture.from_dict(data))
