"""NumPy archives: `x_train`, `y_train` and, if wanted, `x_val`, `y_val`, `x_test`, `y_test` and `classes`."""

from __future__ import annotations

import math
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.lib import format as npy

from nas.data.arrays import PIXEL_KINDS, ArrayPart, channels_last, image_shape
from nas.data.assembly import PartSource
from nas.data.dataset import OnCorrupt, Source
from nas.data.labels import Classes, check_label_type, names_look_like_glyphs, plain_labels
from nas.data.memory import require_bytes
from nas.data.messages import in_one_line, shown
from nas.data.split_names import ROLES, Role, role_of
from nas.errors import DataError
from nas.registry import closest
from nas.texts import printable

_IMAGES = frozenset({"x", "images", "image", "imgs", "img", "data", "pixels"})
_LABELS = frozenset({"y", "labels", "label", "targets", "target"})
_CLASSES = frozenset({"classes", "class_names", "label_names"})
_Key: TypeAlias = tuple[Literal["x", "y"], Role] | Literal["classes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """An array that has not been read: what the archive calls it, and what it says of it."""

    name: str
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
    _check_present(path, headers, names)
    class_names: tuple[str, ...] = ()
    if "classes" in headers:
        class_names = tuple(str(name) for name in _plain(path, headers["classes"]))
    images: dict[Role, _Header] = {role: headers["x", role] for role in ROLES if ("x", role) in headers}
    shapes = {role: _pixels(path, header) for role, header in images.items()}
    height, width, channels = shapes["train"]
    labels = {role: _labels(path, images[role], headers["y", role]) for role in images}
    classes = Classes.of(labels["train"], what=headers["y", "train"].name, names=class_names)
    parts: dict[Role, ArrayPart] = {}
    for role, header in images.items():
        others = shapes[role][2]
        if others != channels:
            raise DataError(
                f"{images['train'].name} and {header.name} of {path} must have the same channels, but have {channels}"
                f" and {others}: convert one."
            )
        indices = classes.indices(labels[role], what=headers["y", role].name)
        parts[role] = ArrayPart(
            labels=indices,
            read=partial(_images, path, header.name),
            raw_bytes=header.nbytes,
            what=header.name,
            deep=header.dtype.kind in "iu" and header.dtype != np.uint8,
        )
    origins: dict[Role, str] = {role: printable(header.name) for role, header in images.items()}
    unknown = sorted(set(names).difference(header.name for header in headers.values()))
    return PartSource.of(
        name=printable(path.stem),
        kind="npz",
        classes=classes,
        channels=channels,
        height=height,
        width=width,
        glyphs=names_look_like_glyphs(classes.names) if class_names else channels == 1,
        parts=parts,
        origins=origins,
        left_out=(printable(f"arrays by other names: {shown(unknown)}"),) if unknown else (),
        on_corrupt=on_corrupt,
    )


def _check_present(path: Path, headers: Mapping[_Key, _Header], names: Sequence[str]) -> None:
    """Refuses an archive without training images or labels, and a split that has one without the other."""
    roles: list[Role] = [role for role in ROLES if role == "train" or ("x", role) in headers or ("y", role) in headers]
    for role in roles:
        word = "val" if role == "search_validation" else role
        lacking = [what for what in ("x", "y") if (what, role) not in headers]
        if role == "train" and lacking:
            key = f"{lacking[0]}_train"
            near = closest(key, [name for name in names if _key_of(name) is None])
            found = shown(sorted(names)).replace("'", "") if names else "none (images in an archive are unpacked first)"
            hint = f"rename {near!r} or " if near else ""
            raise DataError(f"{path} must hold an array {key!r}, but it has {found}: {hint}save it by that name.")
        if lacking:
            given = next(headers[what, role].name for what in ("x", "y") if what not in lacking)
            raise DataError(
                f"{path} has {given!r} without '{lacking[0]}_{word}': add it, or leave both out"
                " to have that split made."
            )


def _key_of(name: str) -> _Key | None:
    """What an array is by its name: "x_train", "X_Train", "xtrain" and "train_images" are the images that train."""
    plain = name.casefold()
    if plain in _CLASSES:
        return "classes"
    words = re.findall(r"[a-z]+", plain)
    if len(words) == 1 and words[0][0] in "xy":
        words = [words[0][0], words[0][1:]]
    for what, known in (("y", _LABELS), ("x", _IMAGES)):
        first = next((word for word in words if word in known), None)
        if first is not None:
            role = role_of("_".join(word for word in words if word != first))
            return None if role is None else ("x" if what == "x" else "y", role)
    return None


def _keys(path: Path, names: Iterable[str]) -> dict[_Key, str]:
    """The names of the arrays that are ours."""
    found: dict[_Key, str] = {}
    for name in names:
        key = _key_of(name)
        if key is None:
            continue
        if key in found:
            raise DataError(f"{path} has both {found[key]!r} and {name!r}: keep one of the two.")
        found[key] = name
    return found


def _headers(path: Path) -> tuple[dict[_Key, _Header], list[str]]:
    """Shapes and types of the arrays that are ours, without reading them, and the names of all."""
    remedy = "save it with numpy.savez_compressed(path, x_train=..., y_train=...)"
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            torn = file.read(2) == b"PK"
        raise DataError(f"{path} is {'damaged or cut short' if torn else 'not an .npz archive'}: {remedy}.")
    headers: dict[_Key, _Header] = {}
    try:
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            for key, name in _keys(path, names).items():
                with archive.open(f"{name}.npy") as file:
                    version = npy.read_magic(file)
                    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                    shape, _, dtype = read(file)
                headers[key] = _Header(name=name, shape=shape, dtype=dtype)
    except DataError:
        raise
    except Exception as error:  # damaged archives make zipfile, NumPy and the decompressors raise nearly anything
        raise DataError(f"{path} cannot be read as an .npz archive ({in_one_line(error)}): {remedy}.") from error
    for header in headers.values():
        if header.dtype.hasobject:
            raise DataError(
                f"{header.name} of {path} holds Python objects (a pickle), which are never loaded: save it as an"
                " array of numbers or strings."
            )
        if any(size < 0 for size in header.shape):
            raise DataError(f"{header.name} of {path} is damaged, its shape is {header.shape}: save the archive again.")
    return headers, names


def _read(path: Path, key: str) -> np.ndarray:
    try:
        with warnings.catch_warnings(), np.load(path, allow_pickle=False) as archive:
            warnings.simplefilter("ignore")  # as above
            return archive[key]
    except Exception as error:  # as above
        raise DataError(f"{key} of {path} cannot be read ({in_one_line(error)}): save the archive again.") from error


def _pixels(path: Path, header: _Header) -> tuple[int, int, int]:
    """Height, width and channels of an array of images that can be read later."""
    if header.dtype.kind not in PIXEL_KINDS:
        raise DataError(
            f"{header.name} of {path} must hold pixels as uint8 or float, but holds {header.dtype}: save uint8."
        )
    return image_shape(header.shape, what=header.name)


def _labels(path: Path, images: _Header, labels: _Header) -> np.ndarray:
    check_label_type(labels.shape, labels.dtype, what=labels.name)
    if labels.shape[0] != images.shape[0]:  # from the headers: labels may claim to be more than there is memory for
        raise DataError(
            f"{path} needs one label per image, but {images.name} has {images.shape[0]} images and {labels.name}"
            f" {labels.shape[0]} labels: save both from the same selection."
        )
    return _plain(path, labels)


def _plain(path: Path, header: _Header) -> np.ndarray:
    """An array of labels or names, where that fits the memory."""
    check_label_type(header.shape, header.dtype, what=header.name)
    require_bytes(3 * header.nbytes, what=f"{header.name} of {path}")
    return plain_labels(_read(path, header.name), what=header.name)


def _images(path: Path, name: str) -> np.ndarray:
    return channels_last(_read(path, name))
