"""Data that cannot be learnt from: one line with what is wrong and what would work, and exit 2, before any training."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas.errors import TrainingError

from .bad_input import check, complaint, run, told
from .test_bad_input import SMALLEST

rng = np.random.default_rng(0)
X = rng.integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
Y = np.arange(12) % 2
TRAIN = ["train", "a.yaml", "--train-resolution", "8", "--threads", "1", "--device", "cpu"]


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch EXECUTED",)


EVIL = np.array([Evil()] * 12, dtype=object)
ARRAYS: dict[str, tuple[Any, ...]] = {
    "objects": ({"x_train": EVIL, "y_train": Y}, "x_train of", "a pickle", "never loaded", "save it as an array"),
    "object_labels": ({"x_train": X, "y_train": EVIL}, "y_train of", "a pickle", "never loaded"),
    "object_names": ({"x_train": X, "y_train": Y, "classes": EVIL}, "classes of", "a pickle", "never loaded"),
    "lacking": ({"x_train": X}, "must hold an array 'y_train'", "has x_train"),
    "misnamed": ({"x_trian": X, "y_train": Y}, "must hold an array 'x_train'", "rename 'x_trian'"),
    "untested": ({"x_train": X, "y_train": Y, "x_test": X}, "'x_test' without 'y_test'", "add it"),
    "short": ({"x_train": X, "y_train": Y[:9]}, "12 images and y_train 9 labels", "save both"),
    "flat": ({"x_train": X.reshape(12, -1), "y_train": Y}, "must have shape (N, H, W)", "(12, 192)", "reshape"),
    "four": ({"x_train": X[..., [0, 1, 2, 0]], "y_train": Y}, "1 or 3 channels", "(12, 8, 8, 4)"),
    "complex": ({"x_train": X.astype(complex), "y_train": Y}, "holds complex128", "save uint8"),
    "words": ({"x_train": X.astype(str), "y_train": Y}, "must hold pixels", "save uint8"),
    "bright": ({"x_train": X.astype(float), "y_train": Y}, "Float pixels must lie in [0, 1]", "divide by 255"),
    "nan": ({"x_train": np.where(X > 99, np.nan, 0), "y_train": Y}, "Pixels must be finite", "drop those"),
    "dark": ({"x_train": X * 0, "y_train": Y}, "All training pixels", "the same value, 0"),
    "none": ({"x_train": X[:0], "y_train": Y[:0]}, "x_train holds no pixels", "(0, 8, 8, 3)"),
    "few": ({"x_train": X[:2], "y_train": Y[:2]}, "at least 3 training images", "'0' of few has 1", "add images"),
    "alike": ({"x_train": X, "y_train": Y * 0}, "at least 2 classes", "only '0'", "add images of another class"),
    "broken": ({"x_train": X, "y_train": Y + 0.5}, "whole numbers or strings", "has 0.5", "save class indices"),
    "missing": ({"x_train": X, "y_train": np.where(Y, np.nan, 0)}, "has nan", "save class indices"),
    "vast": ({"x_train": X, "y_train": np.where(Y, 1e30, 0)}, "has 1e+30", "save class indices"),
    "one_hot": ({"x_train": X, "y_train": np.eye(2)[Y]}, "one label per image", "(12, 2)", "y_train.argmax(1)"),
    "dates": ({"x_train": X, "y_train": Y.astype("datetime64[D]")}, "holds datetime64[D]", "save class indices"),
    "beyond": (
        {"x_train": X, "y_train": Y * 7, "classes": np.array(["a", "b"])},
        "Labels must lie in 0..1",
        "y_train has 7",
        "fix the labels",
    ),
    "strange": (
        {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 1},
        "y_test has classes that the training set lacks: 2",
        "add training images",
    ),
}


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def claim(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    """An array by its header, of which next to nothing is there."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": dtype})
    return file.getvalue() + bytes(64)


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return file.getvalue()


GOOD = archive({"x_train.npy": npy(X), "y_train.npy": npy(Y)})
LZMA = archive({"x_train.npy": npy(X), "y_train.npy": npy(Y)}, zipfile.ZIP_LZMA)
ENCRYPTED = bytearray(GOOD)
for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
    at = ENCRYPTED.find(mark)
    while at >= 0:
        ENCRYPTED[at + offset] |= 1
        at = ENCRYPTED.find(mark, at + 4)
FILES: dict[str, tuple[bytes, ...] | tuple[Any, ...]] = {
    "half.npz": (GOOD[: len(GOOD) // 2], "is damaged or cut short", "save it with numpy.savez_compressed"),
    "flipped.npz": (GOOD[:400] + bytes(9) + GOOD[409:], "cannot be read", "Bad CRC-32", "save it with"),
    "locked.npz": (bytes(ENCRYPTED), "is encrypted", "save it with"),
    "lzma.npz": (LZMA[:60] + b"\xff" * 9 + LZMA[69:], "cannot be read as an .npz archive", "save it with"),
    "empty.npz": (b"", "is not an .npz archive", "save it with"),
    "text.npz": (b"hello", "is not an .npz archive", "save it with"),
    "data.pkl": (b"cos\nsystem\n(S'touch EXECUTED'\ntR.", "is not an .npz archive", "save it with"),
    "x.npy": (npy(X), "is not an .npz archive", "save it with"),
    "photos.zip": (archive({"cat/1.png": b"x"}), "it has none", "unpacked first"),
    "labels.npz": (
        archive({"x_train.npy": npy(X), "y_train.npy": claim((10**12,), "<i8")}),
        "12 images and y_train 1000000000000 labels",
    ),
    "images.npz": (
        archive({"x_train.npy": claim((12, 10**6, 10**6, 3)), "y_train.npy": npy(Y)}),
        "need 36,000.0 GB of memory while they are read",
        "use fewer images",
    ),
    "names.npz": (
        archive({"x_train.npy": npy(X), "y_train.npy": npy(Y), "classes.npy": claim((2000,), "<U400000000")}),
        "classes of",
        "of memory",
        "check how it was saved",
    ),
    "negative.npz": (
        archive({"x_train.npy": claim((12, -8, 8, 3)), "y_train.npy": npy(Y)}),
        "its shape is (12, -8, 8, 3)",
        "save the archive again",
    ),
}
LAYOUT = "lay it out as FOLDER/CLASS/image.jpg"
FOLDERS = {
    "empty": ("has neither class folders nor images", LAYOUT),
    "loose": ("has images but no class folders", LAYOUT),
    "one": ("at least 2 classes", "only 'cat'", "add images of another class"),
    "hollow": ("class folders without images: 'bird'", "add images or remove the folders"),
    "split/": ("test has classes that the training set lacks: 'bird'", "add training images"),
    "untrained": ("has test/ but no train/", LAYOUT),
    "spoilt": ("None of the 12 images of", "cat/0.png (not an image)", "replace them"),
    "halved": ("Class 'cat' of halved has no readable training image", "6 were skipped", "cat/0.png", "add images"),
    "idx": ("must hold 768 bytes after its header, but has 761", "download it again"),
    "packed": ("is damaged or cut short", "download it again"),
    "unlabelled": ("none of the train labels", "add train-labels-idx1-ubyte"),
    "page": ("is not an IDX file, it starts with 0x3c68746d", "download it again"),
    "pipe.npz": ("is a pipe or device", "an .npz file"),
    "circle": ("There is no data at", "an .npz file"),
    "nothing.npz": ("There is no data at", "nothing.npz", "an .npz file"),
    "digit": ("There is no data at", "did you mean 'digits'?"),
    "https://example.org/x.npz": ("must be a local path or hf:NAME, not the URL", "download it"),
    "hf:": ("names no data set", "hf:cifar10"),
    "~nobody-by-this-name/x.npz": ("There is no data at", "x.npz"),
    "x" * 5000: ("There is no data at", "an .npz file"),
    "/dev/zero": ("is a pipe or device", "an .npz file"),
    "\x1b[31m\nx": (r"\x1b[31m\nx", "There is no data at"),
}


def images(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 6) -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / name / f"{i}.png")
    return folder


def idx(folder: Path, *, packed: bool = False) -> Path:
    folder.mkdir()
    for name, array in (("images-idx3", X[..., 0]), ("labels-idx1", Y.astype(np.uint8))):
        content = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
        path = folder / f"train-{name}-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that claims to be a vast image."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    (home / "a.yaml").write_text(SMALLEST)
    for name, (arrays, *_) in ARRAYS.items():
        np.savez(home / f"{name}.npz", **arrays)
    for name, (content, *_) in FILES.items():
        (home / name).write_bytes(content)
    (home / "empty").mkdir()
    (home / "loose").mkdir()
    Image.new("RGB", (8, 8)).save(home / "loose/0.png")
    images(home / "one", ("cat",))
    (images(home / "hollow") / "bird").mkdir()
    images(home / "split/train")
    images(home / "split/test", ("cat", "bird"))
    images(home / "untrained/test")
    for folder, pattern in ((images(home / "spoilt"), "*/*.png"), (images(home / "halved"), "cat/*.png")):
        for path in folder.glob(pattern):
            path.write_bytes(b"x")
    corrupt = images(home / "corrupt")
    (corrupt / "cat/2.png").write_bytes((corrupt / "cat/2.png").read_bytes()[:80])
    odd = images(home / "odd")
    (odd / "cat/bomb.png").write_bytes(bomb(60_000))
    (odd / "cat/large.png").write_bytes(bomb(9_000))
    (odd / "cat/program.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(touch EXECUTED) run\n")
    os.mkfifo(odd / "cat/pipe.png")
    path = idx(home / "idx") / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-7])
    path = idx(home / "packed", packed=True) / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-99])
    (idx(home / "unlabelled") / "train-labels-idx1-ubyte").unlink()
    (idx(home / "page") / "train-images-idx3-ubyte").write_bytes(b"<html>404</html>")
    os.mkfifo(home / "pipe.npz")
    (home / "circle").symlink_to("circle")
    return home


@pytest.fixture(autouse=True)
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


CASES = [
    *((f"{name}.npz", *fragments) for name, (_, *fragments) in ARRAYS.items()),
    *((name, *fragments) for name, (_, *fragments) in FILES.items()),
    *((name, *fragments) for name, fragments in FOLDERS.items()),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case[0][:40]))
def test_data_that_cannot_be_learnt_from_is_refused(
    case: tuple[str, ...], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, *fragments = case
    told(complaint([*TRAIN, "--quiet", "--data", data, "--out", "out"], home, capsys), *fragments)
    assert not (home / "EXECUTED").exists()


def test_the_main_job_refuses_it_alike(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["search", "--space", "coatnet-small", "--budget", "5MFLOPs", "--out", "out", "--data"]
    for name, fragments in (("objects.npz", ARRAYS["objects"][1:]), ("split/", FOLDERS["split/"])):
        told(complaint([*words, name, "--quiet"], home, capsys), *fragments)


def test_more_than_the_memory_holds_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez_compressed(home / "many.npz", x_train=np.zeros((60_000, 4, 4), np.uint8), y_train=np.arange(60_000) % 2)
    words = [*TRAIN, "--quiet", "--data", "many.npz", "--out", "out", "--train-resolution", "4096"]
    line = complaint(words, home, capsys)
    told(line, "60,000 images at 4096x4096 need 1,006.6 GB of memory", "lower --train-resolution to")


def test_a_corrupt_image_refuses_the_data_where_that_is_asked_for(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = complaint([*TRAIN, "--quiet", "--data", "corrupt", "--out", "out", "--on-corrupt", "refuse"], home, capsys)
    told(line, "cat/2.png (", "replace it, or allow --on-corrupt skip")


@pytest.mark.parametrize(
    ("data", "fragments"),
    [
        ("corrupt", ("1 of 12 images cannot be read and are left out: cat/2.png (",)),
        (
            "odd",
            (
                "4 of 16 images cannot be read and are left out: cat/bomb.png (",
                "cat/large.png (",
                "cat/pipe.png (not a file)",
                "cat/program.png (not an image)",
            ),
        ),
    ],
)
def test_corrupt_images_are_named_counted_and_left_out(
    data: str,
    fragments: tuple[str, ...],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from nas.cli.main import main

    def train_network(*_: object, **__: object) -> float:
        raise TrainingError("The training has begun.")

    monkeypatch.setattr("nas.pipeline.train.train_network", train_network)
    assert main([*TRAIN, "--data", data, "--out", "out"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    told(err, *fragments, "The training has begun.")
    assert not (home / "EXECUTED").exists()


def test_a_process_of_its_own_executes_nothing_either(home: Path) -> None:
    ran = run([*TRAIN, "--data", "object_labels.npz", "--out", "out", "--json"], home)
    check(ran.returncode, ran.stdout, ran.stderr)
    told(ran.stderr, *ARRAYS["object_labels"][1:])
    assert not (home / "EXECUTED").exists()
