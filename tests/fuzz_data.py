"""Mutated data sets: .npz archives, IDX files, encoded images and folders of them."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import random
import shutil
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from PIL import Image

from nas.data import open_data
from nas.data.dataset import OnCorrupt
from nas.data.idx import _header
from nas.errors import NasError

from .fuzz_engine import Target
from .fuzz_mutations import SENTINEL, mutate_bytes

_numbers = np.random.default_rng(0)
X = _numbers.integers(0, 256, (12, 6, 7, 3), dtype=np.uint8)
Y = np.arange(12) % 2
PROGRAM = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(%pipe%touch {SENTINEL}) (w) file\nshowpage\n".encode()


class Evil:
    """Pickled, it makes a file when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {SENTINEL}",)


EVIL = np.array([Evil()] * 12, dtype=object)


def use_data(path: Path, on_corrupt: OnCorrupt = "skip") -> None:
    """Reads a data set and looks at what came."""
    source = open_data(str(path), on_corrupt=on_corrupt)
    data = source.load(resolution=8, seed=0)
    info = source.info
    assert info.num_classes == len(info.class_names) == len(info.class_counts) >= 2
    assert all(name.isprintable() for name in info.class_names)
    for split in (data.train, data.search_validation, data.test):
        assert len(split) >= 1
        assert split.images.shape[1:] == (info.channels, 8, 8)
        assert split.images.dtype == torch.uint8
        assert 0 <= int(split.labels.min()) <= int(split.labels.max()) < info.num_classes
    assert all(np.isfinite(value) for value in (*data.mean, *data.std))
    assert min(data.std) > 0


# -- .npz ----------------------------------------------------------------------------------------------------


_ARRAYS: tuple[Callable[[np.ndarray], Any], ...] = (
    lambda a: a[:-1], lambda a: a[:0], lambda a: a[:1], lambda a: a[None], lambda a: a[..., None], lambda a: a.ravel(),
    lambda a: a.T, lambda a: a[::-1], lambda a: np.asfortranarray(a), lambda a: a.astype(float),
    lambda a: a.astype(complex), lambda a: a.astype(str), lambda a: a.astype("S"), lambda a: a.astype(bool),
    lambda a: a.astype(">i4"), lambda a: a.astype("datetime64[D]"), lambda a: a.astype("timedelta64[s]"),
    lambda a: a.astype(np.int64) - 1, lambda a: a.astype(np.int64) * 2**40, lambda a: a.astype(np.int64) * 7,
    lambda a: a.astype(np.uint64) + np.uint64(2**63), lambda a: (a / 255).astype(np.float16), lambda a: a / 255,
    lambda a: a * 1e300, lambda a: a * np.nan, lambda a: a / 254.9, lambda a: a.astype(np.longdouble) / 255,
    lambda a: np.zeros(len(a), dtype=[("a", "u1"), ("b", "O")]), lambda a: np.zeros(len(a), dtype=[("a", "u1")]),
    lambda a: np.array(5), lambda a: np.array("text"), lambda a: EVIL, lambda a: np.array([None] * 12),
    lambda a: np.full(a.shape, 7), lambda a: np.zeros(a.shape), lambda a: np.array(["a", "b\n\x1b[31m", "", "é"] * 3),
    lambda a: np.array([b"\xff", b"a"] * 6), lambda a: np.eye(3)[Y], lambda a: Y[:, None], lambda a: Y + 0.5,
    lambda a: np.array(["0", "1", "2"]), lambda a: np.array([np.inf, 1.0] * 6), lambda a: X[..., 0],
    lambda a: X.transpose(0, 3, 1, 2), lambda a: X[..., :2], lambda a: Y, lambda a: X,
)  # fmt: skip


def _array(rng: random.Random, array: np.ndarray) -> np.ndarray:
    """Another array in the place of one; the same where it cannot be changed so."""
    with np.errstate(all="ignore"), contextlib.suppress(ValueError, TypeError, np.exceptions.ComplexWarning):
        return np.asarray(rng.choice(_ARRAYS)(array))
    return array


def _header_text(rng: random.Random, header: bytes) -> bytes:
    """The text of an array's header, changed."""
    texts = [
        b"'<U9999999'", b"'|O'", b"'<i8'", b"'|V999999999'", b"'<f2'", b"[('a','<i4')]", b"'U'", b"'>U3'", b"'|S0'",
        b"'<U0'", b"(-1,)", b"(12,)", b"(1e3,)", b"(999999999999999999999,)", b"(12,6,7,3)", b"(12,0,7,3)", b"()",
        b"(True,)", b"[12]", b"12", b"None", b"True", b"{}", b"(" * 300, b"-" * 3000 + b"1", b"'" + b"x" * 9000 + b"'",
        f"__import__('os').system('touch {SENTINEL}')".encode(),
    ]  # fmt: skip
    at = rng.choice(
        [header.find(b"'descr': ") + 9, header.find(b"'shape': ") + 9, header.find(b"'fortran_order': ") + 17]
    )
    end = header.find(b", '", at) if rng.random() < 0.8 else rng.randrange(len(header))
    return header[:at] + rng.choice(texts) + header[max(end, at) :]


def _member(rng: random.Random, array: np.ndarray, changes: bool) -> bytes:
    file = io.BytesIO()
    npy.write_array(file, array, version=rng.choice(((1, 0), (2, 0), (3, 0))))
    content = file.getvalue()
    if not changes:
        return content
    version = content[6]
    start, width = (10, 2) if version == 1 else (12, 4)
    length = int.from_bytes(content[8:start], "little")
    header = content[start : start + length]
    how = rng.randrange(4)
    if how == 0:
        return mutate_bytes(rng, content)
    if how == 1:
        return content[: rng.randrange(len(content))]
    header = _header_text(rng, header)
    if how == 2:
        return (
            content[:6]
            + bytes([rng.choice((0, 1, 2, 3, 9)), 0])
            + content[8:start]
            + header
            + content[start + length :]
        )
    said = min(len(header), 256**width - 1)
    return content[:8] + said.to_bytes(width, "little") + header + content[start + length :]


def _make_npz(rng: random.Random, home: Path) -> None:
    arrays = {"x_train": X, "y_train": Y}
    if rng.random() < 0.4:
        arrays |= {"x_test": X, "y_test": Y}
    if rng.random() < 0.3:
        arrays["classes"] = np.array(["cat", "dog"])
    how = rng.random()
    if how < 0.45:
        for _ in range(rng.choice((1, 1, 2))):
            name = rng.choice(sorted(arrays))
            change = rng.random()
            if change < 0.1:
                arrays[rng.choice(("X_train", "x_train.npy", "y", "x_test", "classes", "", "../x"))] = arrays.pop(name)
            elif change < 0.15 and len(arrays) > 1:
                del arrays[name]
            else:
                arrays[name] = _array(rng, arrays[name])
    broken = rng.choice(sorted(arrays)) if 0.45 <= how < 0.75 else None
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", _member(rng, array, name == broken))
    content = file.getvalue()
    (home / "d.npz").write_bytes(mutate_bytes(rng, content) if how >= 0.75 else content)


def _npz_parsed(home: Path) -> bool:
    try:
        with zipfile.ZipFile(home / "d.npz") as archive:
            for name in ("x_train.npy", "y_train.npy"):
                with archive.open(name) as file:
                    version = npy.read_magic(file)
                    (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
    except Exception:
        return False
    return True


# -- IDX -----------------------------------------------------------------------------------------------------


def _idx(rng: random.Random, array: np.ndarray, changes: bool) -> bytes:
    sizes = list(array.shape)
    if not changes:
        return b"\0\0\x08" + bytes([len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + array.tobytes()
    if rng.random() < 0.3:
        sizes[rng.randrange(len(sizes))] = rng.choice((0, 1, 11, 13, 2**16, 2**31, 2**32 - 1))
    rank = rng.choice((len(sizes),) * 8 + (0, 1, 2, 4, 9, 255))
    kind = rng.choice((8,) * 8 + (9, 0x0D, 0))
    content = b"\0\0" + bytes([kind, rank]) + struct.pack(f">{len(sizes)}I", *sizes) + array.tobytes()
    return mutate_bytes(rng, content, often=0.3)


def _make_idx(rng: random.Random, home: Path) -> None:
    folder = home / "d"
    folder.mkdir()
    labels = rng.choice((Y, Y, Y, Y * 0, Y * 200, np.arange(12), Y[:9])).astype(np.uint8)
    pixels = rng.choice((X[..., 0], X[..., 0], X, X * 0, X[:, :, :0, 0], X[:9, ..., 0]))
    files = {("train", "images-idx3"): pixels, ("train", "labels-idx1"): labels}
    if rng.random() < 0.4:
        files |= {("t10k", "images-idx3"): pixels, ("t10k", "labels-idx1"): labels}
    broken = rng.choice([*sorted(files), None])
    for (half, what), array in files.items():
        changes, name = (half, what) == broken, f"{half}-{what}-ubyte"
        if changes and rng.random() < 0.1:
            continue
        content = _idx(rng, array, changes)
        if rng.random() < 0.4:
            content, name = gzip.compress(content), f"{name}.gz"
            content = mutate_bytes(rng, content, often=0.5 * changes)
        (folder / name).write_bytes(content)


def _idx_parsed(home: Path) -> bool:
    paths = [path for path in (home / "d").iterdir() if path.name.startswith("train")]
    try:
        return len([_header(path) for path in paths]) == 2
    except NasError:
        return False


# -- images --------------------------------------------------------------------------------------------------


def _encoded() -> dict[str, bytes]:
    """A small image in every format, and in several modes."""
    colour = Image.fromarray(_numbers.integers(0, 256, (9, 11, 3), dtype=np.uint8))
    found = {}
    for suffix, name, mode, options in (
        ("png", "PNG", "RGB", {}), ("png", "PNG", "P", {}), ("png", "PNG", "LA", {}), ("png", "PNG", "I;16", {}),
        ("png", "PNG", "1", {}), ("jpg", "JPEG", "RGB", {}), ("jpg", "JPEG", "L", {}), ("jpg", "JPEG", "CMYK", {}),
        ("jpg", "JPEG", "RGB", {"progressive": True}), ("gif", "GIF", "P", {}), ("bmp", "BMP", "RGB", {}),
        ("tif", "TIFF", "RGB", {}), ("tif", "TIFF", "F", {}), ("tif", "TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("tif", "TIFF", "RGB", {"compression": "tiff_adobe_deflate"}), ("webp", "WEBP", "RGB", {}),
        ("webp", "WEBP", "RGBA", {"lossless": True}), ("ppm", "PPM", "RGB", {}), ("tga", "TGA", "RGB", {}),
        ("tga", "TGA", "RGB", {"compression": "tga_rle"}), ("jp2", "JPEG2000", "RGB", {}), ("avif", "AVIF", "RGB", {}),
    ):  # fmt: skip
        file = io.BytesIO()
        try:
            (colour.convert("L") if mode in ("I;16", "F") else colour).convert(mode).save(file, name, **options)
        except (OSError, ValueError, KeyError):
            continue  # this build of Pillow lacks the format
        found[f"{len(found)}.{suffix}"] = file.getvalue()
    return found


ENCODED = _encoded()


def _image(rng: random.Random) -> tuple[str, bytes]:
    """One image, mutated."""
    name = rng.choice(sorted(ENCODED))
    content = ENCODED[name]
    how = rng.randrange(10)
    if how == 0 and name.endswith(".png"):  # another size, with a checksum that is right
        size = struct.pack(">II", rng.choice((0, 1, 9, 9000, 2**31 - 1)), rng.choice((0, 1, 11, 9000, 2**31 - 1)))
        head = b"IHDR" + size + content[24:29]
        return name, content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]
    if how == 1:
        return name, rng.choice((b"", b"text", PROGRAM, b"\0" * 99, rng.randbytes(99), content[: rng.randrange(99)]))
    if how == 2:  # one format's content under another's name
        return rng.choice(sorted(ENCODED)), content
    return name, mutate_bytes(rng, content)


def _make_images(rng: random.Random, home: Path) -> None:
    for label in ("cat", "dog"):
        (home / "d" / label).mkdir(parents=True)
        for i in range(4):
            (home / "d" / label / f"{i}.png").write_bytes(ENCODED["0.png"])
    name, content = _image(rng)
    (home / "d" / "cat" / f"odd{name}").write_bytes(content)


def _image_parsed(home: Path) -> bool:
    path = next((home / "d" / "cat").glob("odd*"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.open(path).close()
            return True
    except Exception:
        return False


def _make_folder(rng: random.Random, home: Path) -> None:
    """A folder of images of which files and folders are moved, left out, given twice, linked or renamed."""
    root = home / "d"
    halves = rng.choice((("",), ("train", "test"), ("train", "validation", "test"), ("train",)))
    for half in halves:
        for label in ("cat", "dog", "3"):
            (root / half / label).mkdir(parents=True)
            for i in range(4):
                (root / half / label / f"{i}.png").write_bytes(ENCODED["0.png"])
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        paths = sorted(path for path in root.rglob("*") if not path.is_symlink())
        if not paths:
            return
        path, other = rng.choice(paths), rng.choice(paths)
        with contextlib.suppress(OSError, shutil.Error):  # where the change cannot be made, the next one may
            _change_path(rng, path, other)


def _change_path(rng: random.Random, path: Path, other: Path) -> None:
    how = rng.randrange(9)
    if how <= 1:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif how == 2:
        names = ("a b", "é", ".hidden", "__x", "train", "test", "val", "x.png", "\x1b[31m", "a\nb", "0", "‮", "CAT")
        path.rename(
            path.with_name(rng.choice((*names, os.fsdecode(b"\xff\xfe"), "train-images-idx3-ubyte", "w" * 250)))
        )
    elif how == 3:
        path.with_name(f"link{rng.randrange(9)}.png").symlink_to(
            rng.choice((path, other, "..", ".", "nowhere", "/dev/zero"))
        )
    elif how == 4:
        os.mkfifo(path.with_name(f"pipe{rng.randrange(9)}.png"))
    elif how == 5 and path.is_file():
        path.write_bytes(_image(rng)[1])
    elif how == 6:
        shutil.move(path, other if other.is_dir() else other.parent)
    elif how == 7:
        (path if path.is_dir() else path.parent).joinpath(rng.choice(("empty", "x.png", "deep/er"))).mkdir(parents=True)
    elif path.is_dir():
        shutil.copytree(path, path.with_name(f"copy{rng.randrange(9)}"), symlinks=True)


def use_image(home: Path) -> None:
    """The image is left out or read; or else it refuses the data set, where that is asked for."""
    use_data(home / "d")
    use_data(home / "d", "refuse")


def _folder_parsed(home: Path) -> bool:
    """Whether it is in one of the layouts, with images in every class."""
    try:
        open_data(str(home / "d"))
    except NasError:
        return False
    return True


TARGETS = (
    Target(name="npz", make=_make_npz, parsed=_npz_parsed, use=lambda home: use_data(home / "d.npz")),
    Target(name="idx", make=_make_idx, parsed=_idx_parsed, use=lambda home: use_data(home / "d")),
    Target(name="image", make=_make_images, parsed=_image_parsed, use=use_image),
    Target(name="folder", make=_make_folder, parsed=_folder_parsed, use=lambda home: use_data(home / "d")),
)
