"""NumPy archives: `x_train`, `y_train` and, if wanted, `x_test`, `y_test` and `classes`."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from nas.data.arrays import PIXEL_KINDS, ArrayPart, channels_last, image_shape
from nas.data.assembly import PartSource
from nas.data.dataset import OnCorrupt, Source
from nas.data.labels import Classes, check_label_type, names_look_like_glyphs, plain_labels
from nas.data.memory import require_bytes
from nas.data.messages import in_one_line, shown
from nas.errors import DataError
from nas.registry import closest

KEYS = ("x_train", "y_train", "x_test", "y_test", "classes")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def open_npz(path: Path, *, on_corrupt: OnCorrupt) -> Source:
    """The source of an .npz file. Labels are read now; of the images only their shapes.

    Raises:
        DataError: If it is no such archive, an array is missing, or arrays do not match.
    """
    headers, names = _headers(path)
    for key in ("x_train", "y_train"):
        if key not in headers:
            near = closest(key, names)
            found = shown(sorted(names)).replace("'", "") if names else "none (images in an archive are unpacked first)"
            hint = f"rename {near!r} or " if near and near not in KEYS else ""
            raise DataError(f"{path} must hold an array {key!r}, but it has {found}: {hint}save it by that name.")
    if ("x_test" in headers) != ("y_test" in headers):
        present, absent = ("x_test", "y_test") if "x_test" in headers else ("y_test", "x_test")
        raise DataError(
            f"{path} has {present!r} without {absent!r}: add it, or leave both out to have a test split made."
        )
    class_names: tuple[str, ...] = ()
    if "classes" in headers:
        class_names = tuple(str(name) for name in _plain(path, "classes", headers["classes"]))
    height, width, channels = _pixels(path, "x_train", headers)
    train_labels = _labels(path, "train", headers)
    classes = Classes.of(train_labels, what="y_train", names=class_names)
    train, test = _part(path, "train", headers, classes, train_labels), None
    if "x_test" in headers:
        test_channels = _pixels(path, "x_test", headers)[2]
        if test_channels != channels:
            raise DataError(
                f"x_train and x_test of {path} must have the same channels, but have {channels} and"
                f" {test_channels}: convert one."
            )
        test = _part(path, "test", headers, classes, _labels(path, "test", headers))
    return PartSource.of(
        name=path.stem,
        kind="npz",
        classes=classes,
        channels=channels,
        height=height,
        width=width,
        glyphs=names_look_like_glyphs(classes.names) if class_names else channels == 1,
        train=train,
        test=test,
        on_corrupt=on_corrupt,
    )


def _headers(path: Path) -> tuple[dict[str, _Header], list[str]]:
    """Shapes and types of the arrays that are ours, without reading them, and the names of all."""
    remedy = "save it with numpy.savez_compressed(path, x_train=..., y_train=...)"
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            torn = file.read(2) == b"PK"
        raise DataError(f"{path} is {'damaged or cut short' if torn else 'not an .npz archive'}: {remedy}.")
    headers: dict[str, _Header] = {}
    try:
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            for key in KEYS:
                if key in names:
                    with archive.open(f"{key}.npy") as file:
                        version = npy.read_magic(file)
                        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                        shape, _, dtype = read(file)
                    headers[key] = _Header(shape=shape, dtype=dtype)
    except Exception as error:  # damaged archives make zipfile, NumPy and the decompressors raise nearly anything
        raise DataError(f"{path} cannot be read as an .npz archive ({in_one_line(error)}): {remedy}.") from error
    for key, header in headers.items():
        if header.dtype.hasobject:
            raise DataError(
                f"{key} of {path} holds Python objects (a pickle), which are never loaded: save it as an"
                " array of numbers or strings."
            )
        if any(size < 0 for size in header.shape):
            raise DataError(f"{key} of {path} is damaged, its shape is {header.shape}: save the archive again.")
    return headers, names


def _read(path: Path, key: str) -> np.ndarray:
    try:
        with warnings.catch_warnings(), np.load(path, allow_pickle=False) as archive:
            warnings.simplefilter("ignore")  # as above
            return archive[key]
    except Exception as error:  # as above
        raise DataError(f"{key} of {path} cannot be read ({in_one_line(error)}): save the archive again.") from error


def _pixels(path: Path, key: str, headers: Mapping[str, _Header]) -> tuple[int, int, int]:
    """Height, width and channels of an array of images that can be read later."""
    dtype = headers[key].dtype
    if dtype.kind not in PIXEL_KINDS:
        raise DataError(f"{key} of {path} must hold pixels as uint8 or float, but holds {dtype}: save uint8.")
    return image_shape(headers[key].shape, what=key)


def _labels(path: Path, half: str, headers: Mapping[str, _Header]) -> np.ndarray:
    x, y = f"x_{half}", f"y_{half}"
    check_label_type(headers[y].shape, headers[y].dtype, what=y)
    images, labels = headers[x].shape[0], headers[y].shape[0]
    if labels != images:  # from the headers: labels may claim to be more than there is memory for
        raise DataError(
            f"{path} needs one label per image, but {x} has {images} images and {y} {labels} labels:"
            " save both from the same selection."
        )
    return _plain(path, y, headers[y])


def _plain(path: Path, key: str, header: _Header) -> np.ndarray:
    """An array of labels or names, where that fits the memory."""
    check_label_type(header.shape, header.dtype, what=key)
    require_bytes(3 * header.nbytes, what=f"{key} of {path}")
    return plain_labels(_read(path, key), what=key)


def _part(path: Path, half: str, headers: Mapping[str, _Header], classes: Classes, labels: np.ndarray) -> ArrayPart:
    x = f"x_{half}"
    return ArrayPart(
        labels=classes.indices(labels, what=f"y_{half}"),
        read=partial(_images, path, x),
        raw_bytes=headers[x].nbytes,
        what=x,
    )


def _images(path: Path, key: str) -> np.ndarray:
    return channels_last(_read(path, key))
