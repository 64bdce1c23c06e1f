"""IDX files, the format of MNIST and its relatives (LeCun, Cortes and Burges 1998), gzipped or not."""

from __future__ import annotations

import gzip
import math
import re
import struct
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from nas.data.arrays import ArrayPart, channels_last, image_shape
from nas.data.assembly import PartSource
from nas.data.dataset import OnCorrupt, Source
from nas.data.labels import Classes
from nas.data.memory import require_bytes
from nas.data.messages import in_one_line
from nas.data.split_names import Role
from nas.errors import DataError
from nas.texts import printable

NAME = re.compile(r"(?P<set>.*?)(?P<half>train|t10k|test)-(?P<what>images|labels)[-.]idx\d-ubyte(\.gz)?")
UBYTE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _IdxFile:
    """An IDX file of unsigned bytes whose header has been read."""

    path: Path
    shape: tuple[int, ...]

    @property
    def header_bytes(self) -> int:
        return 4 + 4 * len(self.shape)

    def read(self) -> np.ndarray:
        """Returns the whole array.

        Raises:
            DataError: If the file holds more or fewer bytes than its header says.
        """
        expected = math.prod(self.shape)
        try:
            with _opened(self.path) as file:
                file.seek(self.header_bytes)
                content = file.read(expected + 1)
        except Exception as error:  # gzip and file objects raise various kinds
            raise DataError(
                f"{self.path} is damaged or cut short ({in_one_line(error)}): download it again."
            ) from error
        if len(content) != expected:
            found = f"{len(content):,}" if len(content) < expected else "more"
            raise DataError(
                f"{self.path} must hold {expected:,} bytes after its header, but has {found}: download it again."
            )
        return np.frombuffer(content, dtype=np.uint8).reshape(self.shape)


def find_idx_files(folder: Path) -> dict[tuple[str, str], Path]:
    """Returns the IDX files of a folder by (train|test, images|labels); a file and its .gz count as one.

    Raises:
        DataError: If the folder has files of several data sets.
    """
    found: dict[tuple[str, str], Path] = {}
    sets: set[str] = set()
    for path in sorted(folder.iterdir(), reverse=True):  # a file comes after its .gz and replaces it
        match = NAME.fullmatch(path.name)
        if match and path.is_file():
            half = "train" if match["half"] == "train" else "test"
            found[half, match["what"]] = path
            sets.add(match["set"])
    if len(sets) > 1:
        raise DataError(
            f"{folder} holds the IDX files of {len(sets)} data sets ({', '.join(sorted(sets))}): keep one per folder."
        )
    return found


def open_idx(folder: Path, files: dict[tuple[str, str], Path], *, on_corrupt: OnCorrupt) -> Source:
    """Returns the source of a folder of IDX files found by `find_idx_files`. Images are read later.

    Raises:
        DataError: If a file is missing or malformed, or images and labels do not match.
    """
    pairs: dict[Role, tuple[_IdxFile, np.ndarray]] = {}
    halves: tuple[Role, ...] = ("train", "test")
    for half in halves:
        if half == "test" and not any(key[0] == "test" for key in files):
            continue
        for what in ("images", "labels"):
            if (half, what) not in files:
                name = f"{'t10k' if half == 'test' else half}-{what}-idx{3 if what == 'images' else 1}-ubyte"
                raise DataError(f"{folder} has IDX files, but none of the {half} {what}: add {name} or its .gz.")
        pairs[half] = _pair(files[half, "images"], files[half, "labels"])
    classes = Classes.of(pairs["train"][1], what=str(files["train", "labels"]))
    parts: dict[Role, ArrayPart] = {half: _part(classes, images, labels) for half, (images, labels) in pairs.items()}
    height, width, channels = image_shape(pairs["train"][0].shape, what=str(files["train", "images"]))
    if "test" in pairs and image_shape(pairs["test"][0].shape, what=parts["test"].what)[2] != channels:
        raise DataError(f"The train and test images of {folder} have different channels: convert one set.")
    return PartSource.of(
        name=printable(folder.resolve().name),
        kind="idx",
        classes=classes,
        channels=channels,
        height=height,
        width=width,
        glyphs=True,
        parts=parts,
        origins={half: printable(images.path.name) for half, (images, _) in pairs.items()},
        on_corrupt=on_corrupt,
    )


def _pair(images_path: Path, labels_path: Path) -> tuple[_IdxFile, np.ndarray]:
    images, labels = _header(images_path), _header(labels_path)
    image_shape(images.shape, what=str(images_path))
    if len(labels.shape) != 1:
        raise DataError(f"{labels_path} must hold one label per image, but has shape {labels.shape}: check its name.")
    if images.shape[0] != labels.shape[0]:
        raise DataError(
            f"{images_path} has {images.shape[0]:,} images, but {labels_path} has {labels.shape[0]:,} labels:"
            " use a matching pair."
        )
    require_bytes(3 * labels.shape[0], what=str(labels_path))  # a packed file may claim, and hold, any number
    return images, labels.read()


def _part(classes: Classes, images: _IdxFile, labels: np.ndarray) -> ArrayPart:
    return ArrayPart(
        labels=classes.indices(labels, what=str(images.path.parent)),
        read=partial(_images, images),
        raw_bytes=math.prod(images.shape),
        what=str(images.path),
    )


def _images(file: _IdxFile) -> np.ndarray:
    return channels_last(file.read())


def _header(path: Path) -> _IdxFile:
    """Reads the header: two zero bytes, the type, the number of dimensions, each of them as four bytes."""
    try:
        with _opened(path) as file:
            start = file.read(4)
            rank = start[3] if len(start) == 4 else 0
            sizes = file.read(4 * rank)
    except Exception as error:  # as above
        raise DataError(
            f"{path} cannot be read ({in_one_line(error)}): download it again, or check its permissions."
        ) from error
    if len(start) < 4 or start[:2] != b"\0\0" or not 1 <= rank <= 4:
        raise DataError(f"{path} is not an IDX file, it starts with 0x{start.hex()}: download it again.")
    if start[2] != UBYTE:
        raise DataError(f"{path} must hold unsigned bytes (type 0x08), but has 0x{start[2]:02x}: convert it.")
    if len(sizes) < 4 * rank:
        raise DataError(f"{path} ends within its header: download it again.")
    file = _IdxFile(path=path, shape=struct.unpack(f">{rank}I", sizes))
    if path.suffix != ".gz":  # detects a wrong size in the header before memory is allocated for it
        expected, found = math.prod(file.shape), path.stat().st_size - file.header_bytes
        if found != expected:
            raise DataError(
                f"{path} must hold {expected:,} bytes after its header, but has {found:,}: download it again."
            )
    return file


def _opened(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")
