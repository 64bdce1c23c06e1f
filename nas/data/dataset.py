"""Data set types: metadata known before reading, the three splits, and the protocol of sources."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from nas.data.pixel_range import PixelRange
from nas.data.splitting import TEST_SHARE, VALIDATION_SHARE, divided
from nas.formats import first_few, from_here, listing
from nas.progress import Progress, Silent

SILENT: Progress = Silent()
_MUCH = 1.5
"""How many times larger images are than networks see them, or longer than wide, for that to be said."""
OnCorrupt = Literal["skip", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataInfo:
    """Metadata of a data set, known before its images are read.

    `height` and `width` are those of the stored images (the median of a sample if sizes vary). `train_count` and
    `class_counts` are of the images given for training, before search-validation is split off; `validation_count` and
    `test_count` are 0 if these splits have to be made from the training images. `glyphs` is true if the classes are
    characters or digits, which flipping would change. `origins` gives by split ("train", "search_validation", "test")
    the folder or array it comes from, `left_out` what was found and is not read, a line each, `absent` the classes that
    a given validation or test set has no images of.
    """

    name: str
    kind: str
    num_classes: int
    class_names: tuple[str, ...]
    channels: int
    height: int
    width: int
    train_count: int
    validation_count: int
    test_count: int
    glyphs: bool
    class_counts: tuple[int, ...]
    origins: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    absent: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def side(self) -> int:
        """Side of the square that is read of an image: the central one, as high or as wide as the image."""
        return min(self.width, self.height)

    @property
    def split_off(self) -> str:
        """The splits that have to be made from the training images: "test and validation", one of them, or ""."""
        counts = {"test": self.test_count, "validation": self.validation_count}
        return " and ".join(name for name, count in counts.items() if not count)

    def divided(self) -> tuple[int, int, int]:
        """Returns the numbers of training, search-validation and test images that `Source.load` will divide into."""
        return divided(self.class_counts, validation=self.validation_count, test=self.test_count)


_HASHED = 1024
"""Images that are copied at a time for hashing."""
_LIKENED, _LEVELS = 32, 2
"""Images that a likeness is of, and by how many levels of 255 two may differ."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Images uint8 (N, C, R, R), stored channels last, and labels int64 (N,).

    Attributes:
        mapped: Whether the images are a file that is mapped into memory, since they do not fit there.
    """

    images: Tensor
    labels: Tensor
    mapped: bool = False

    def __post_init__(self) -> None:
        assert self.images.dtype == torch.uint8, self.images.dtype
        assert self.images.ndim == 4, self.images.shape
        assert self.labels.dtype == torch.int64, self.labels.dtype
        assert self.labels.shape == self.images.shape[:1], self.labels.shape

    def __len__(self) -> int:
        return len(self.labels)

    def content(self) -> Iterator[bytes]:
        """Yields the bytes of the images (N, C, R, R), a part at a time, and of the labels, for hashing."""
        for part in self.images.split(_HASHED):
            yield part.numpy().tobytes()
        yield self.labels.numpy().tobytes()

    def first(self, n: int) -> Split:
        """Returns the first `n` images, sharing memory: a random sample of `train` or `search_validation`."""
        return Split(images=self.images[:n], labels=self.labels[:n], mapped=self.mapped)

    def to(self, device: torch.device | str) -> Split:
        """Returns the split on another device, where `Batches` then gather the images; a mapped one stays."""
        if self.mapped:
            return self
        return Split(images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """A data set with its three splits, in memory or mapped into it.

    Training and scorers use `train` and `search_validation` only; `test` is for the final report. The first two are
    in seeded random order. `mean` and `std` are per channel over `train`, of pixels in [0, 1]. `skipped` lists the
    images that could not be read, each with the reason. `levels` are the whole numbers that were read as black and as
    white where pixels have more than 8 bits.
    """

    info: DataInfo
    resolution: int
    train: Split
    search_validation: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: tuple[str, ...] = ()
    levels: tuple[int, int] | None = None


def likeness(data: Dataset) -> tuple[int, ...]:
    """Returns the mean pixel value, from 0 to 255, of each of the first 32 training images.

    By it, the same images in the same split are known again, whatever stores or decodes them.
    """
    means = data.train.images[:_LIKENED].float().mean((1, 2, 3))
    return tuple(round(value) for value in means.tolist())


def is_alike(one: Sequence[int], other: Sequence[int]) -> bool:
    """Returns whether two likenesses are of the same images; decoders of JPEG differ by a level or so."""
    return len(one) == len(other) and all(abs(a - b) <= _LEVELS for a, b in zip(one, other, strict=True))


class Source(Protocol):
    """A data set that was located and checked, but whose images have not been read."""

    @property
    def info(self) -> DataInfo: ...

    def load(
        self,
        *,
        resolution: int,
        seed: int,
        validation_share: float = VALIDATION_SHARE,
        test_share: float = TEST_SHARE,
        levels: tuple[int, int] | None = None,
        progress: Progress = SILENT,
    ) -> Dataset:
        """Reads all images at `resolution` and splits them; the same seed gives the same splits.

        If the source has no test set, `test_share` of the training images becomes `test`; then, if it has no
        validation set, `validation_share` of the rest becomes `search_validation`. Both are stratified. Deep pixels are
        scaled by `levels`, those that are read as black and as white, or by their own where these are None.

        Raises:
            DataError: If images or labels are unsuitable for training, or do not fit in memory.
            OptionError: If a resolution or share is invalid.
        """
        ...

    def load_to_evaluate(
        self, *, resolution: int, levels: tuple[int, int] | None = None, progress: Progress = SILENT
    ) -> tuple[Split, ...]:
        """Reads the images of the test set as `load` does, and no others; all images where there is no test set.

        Raises:
            DataError: If images are unsuitable, or do not fit in memory.
            OptionError: If the resolution is invalid.
        """
        ...

    def check_trainable(self) -> None:
        """Checks that there are two classes, each with an image for every split that is made of the training images.

        Raises:
            DataError: If not.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """Images uint8 (n, R, R, C) of a part from index `start` on; `failed` has the unreadable ones with the reasons."""

    start: int
    images: Tensor
    failed: dict[int, str]


class Part(Protocol):
    """Labeled images of a source: its training, validation or test set."""

    @property
    def labels(self) -> Tensor:
        """Class indices, int64 (N,)."""
        ...

    @property
    def transient_bytes(self) -> int:
        """Bytes of memory that reading needs in addition to the images returned."""
        ...

    def pixel_range(self) -> PixelRange | None:
        """Returns the range of the images with integers of more than 8 bits; None if there are none."""
        ...

    def chunks(self, *, resolution: int, channels: int, pixel_range: PixelRange | None) -> Iterator[Chunk]:
        """Yields all images in order, square and 8-bit; `pixel_range` is that of all parts together."""
        ...


def describe_data(data: Dataset) -> str:
    """Describes a data set in a few words: name, number of training images, number of classes."""
    return described(data.info, len(data.train))


def described(info: DataInfo, images: int) -> str:
    """Describes a data set of so many training images as `describe_data` does."""
    return f"{info.name} ({images:,} training images, {info.num_classes} classes)"


_MOST_CLASSES, _NAMED = 20, 5


def size_lines(info: DataInfo, side: int, data: str, *, resolution: int | None = None) -> list[str]:
    """Returns a line that says so where images are much larger than the side that they are reduced to.

    Args:
        resolution: The side at which costs are counted; `side` if None.
    """
    if info.side < _MUCH * side:
        return []
    reduced = f"Images of {info.width}x{info.height} pixels are reduced to {side}x{side}"
    if resolution is not None and info.side < _MUCH * resolution:
        return [f"{reduced} to train; a longer --time, or --train-resolution, keeps more of them."]
    asked = f"nas spaces --for {shlex.quote(from_here(data))}"
    return [f"{reduced}; `{asked}` proposes space, resolution and budget for their size."]


def data_lines(info: DataInfo) -> list[str]:
    """What was understood of a data set, for people: sizes, classes with counts, splits, what is left out."""
    size = "typically " if info.kind in ("folder", "hf") else ""
    color = "grey" if info.channels == 1 else "color"
    classes = [f"{name} {count:,}" for name, count in zip(info.class_names, info.class_counts, strict=True)]
    counts = {"train": info.train_count, "search_validation": info.validation_count, "test": info.test_count}
    splits = [
        f"{name} from {info.origins.get(name, info.name)} ({count:,})" if count else f"{name} made from train"
        for name, count in counts.items()
    ]
    return [
        f"Data: {info.name}, images of {size}{info.width}x{info.height} pixels, {color}",
        *_cropped(info),
        f"{info.num_classes:,} classes, training images of each: {first_few(classes, _MOST_CLASSES)}",
        f"Splits: {', '.join(splits)}",
        *(f"No {name.removeprefix('search_')} images of {_some(lacking)}" for name, lacking in info.absent.items()),
        *(f"Left out: {line}" for line in info.left_out),
    ]


def _some(names: Sequence[str]) -> str:
    return listing(names) if len(names) <= _NAMED else first_few(names, _NAMED)


def _cropped(info: DataInfo) -> list[str]:
    """A line where much of an image lies beside its central square."""
    longest = max(info.width, info.height)
    if longest <= _MUCH * info.side:
        return []
    return [
        f"The central square of each image is used, {info.side / longest:.0%} of it: where the rest matters, resize the"
        " images to squares before"
    ]
