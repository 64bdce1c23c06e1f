"""What a data set is: what is known of it unread, its three splits, and the seam that sources fill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from nas.data.splitting import TEST_SHARE, VALIDATION_SHARE, divided
from nas.progress import Progress, Silent

SILENT: Progress = Silent()
OnCorrupt = Literal["skip", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataInfo:
    """What is known of a data set before its images are read.

    `height` and `width` are those of the stored images (the median of a sample where sizes vary).
    `train_count` and `class_counts` are of the images given for training, before search-validation is taken
    out of them; `validation_count` and `test_count` are 0 where the split is still to be made from the
    training images. `glyphs` says that the classes are characters or digits, which mirroring would turn into
    others.
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

    def divided(self) -> tuple[int, int, int]:
        """Returns the numbers of training, search-validation and test images that `Source.load` will divide into."""
        return divided(self.class_counts, validation=self.validation_count, test=self.test_count)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Images uint8 (N, C, R, R), stored channels last, and labels int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        assert self.images.dtype == torch.uint8, self.images.dtype
        assert self.images.ndim == 4, self.images.shape
        assert self.labels.dtype == torch.int64, self.labels.dtype
        assert self.labels.shape == self.images.shape[:1], self.labels.shape

    def __len__(self) -> int:
        return len(self.labels)

    def content(self) -> tuple[bytes, bytes]:
        """Images (N, C, R, R) and labels as bytes, to name them by a hash."""
        return self.images.numpy().tobytes(), self.labels.numpy().tobytes()

    def first(self, n: int) -> Split:
        """The first `n` images, sharing memory: a fair sample of `train` and `search_validation`."""
        return Split(images=self.images[:n], labels=self.labels[:n])

    def to(self, device: torch.device | str) -> Split:
        """The split on another device; `Batches` gather there where the images lie."""
        return Split(images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """A data set in memory, divided once.

    Training and every scorer see `train` and `search_validation` only; `test` is for the final report. The
    first two are in seeded random order. `mean` and `std` are per channel over `train`, of pixels in [0, 1].
    `skipped` names the images that could not be read, each with the reason.
    """

    info: DataInfo
    resolution: int
    train: Split
    search_validation: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: tuple[str, ...] = ()


class Source(Protocol):
    """A data set that has been found and understood, but whose images have not been read."""

    @property
    def info(self) -> DataInfo: ...

    def load(
        self,
        *,
        resolution: int,
        seed: int,
        validation_share: float = VALIDATION_SHARE,
        test_share: float = TEST_SHARE,
        progress: Progress = SILENT,
    ) -> Dataset:
        """Reads all images at `resolution` and divides them; the same seed gives the same splits.

        `test_share` of the training images becomes `test` where the source has no test set, then
        `validation_share` of the rest becomes `search_validation` where it has no validation set. Both are
        stratified.

        Raises:
            DataError: If images or labels cannot be learnt from, or do not fit the memory.
            OptionError: If a resolution or share means nothing.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """Images uint8 (n, R, R, C) of a part from index `start` on; `failed` says which are bad and why."""

    start: int
    images: Tensor
    failed: dict[int, str]


class Part(Protocol):
    """Labelled images that a source was given under one name: its training, validation or test set."""

    @property
    def labels(self) -> Tensor:
        """Class indices, int64 (N,)."""
        ...

    @property
    def transient_bytes(self) -> int:
        """Memory that reading needs on top of the images that it gives."""
        ...

    def chunks(self, *, resolution: int, channels: int) -> Iterator[Chunk]:
        """All images in order, square and 8-bit."""
        ...


def describe_data(data: Dataset) -> str:
    """A data set in a few words: its name, how many images train, how many classes."""
    return f"{data.info.name} ({len(data.train):,} training images, {data.info.num_classes} classes)"
