"""From the parts of a source to three splits in memory, or mapped into it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nas.data.dataset import SILENT, DataInfo, Dataset, OnCorrupt, Part, Split
from nas.data.duplicates import describe_duplicates
from nas.data.labels import Classes
from nas.data.messages import shown
from nas.data.pixel_range import PixelRange
from nas.data.split_names import ROLES, Role
from nas.data.splitting import TEST_SHARE, VALIDATION_SHARE, hold_out, purpose_generator
from nas.data.storage import Allocate, choose_storage
from nas.errors import DataError, OptionError
from nas.formats import first_few
from nas.progress import Progress

SMALLEST = 4
COMPACTED = 1024
DARK = 64
"""Images without a pixel of this value, a quarter of white, are likely of another scale."""
NAMED = 5
"""So many of the images that cannot be read are named to the user; `Dataset.skipped` has them all."""
PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartSource:
    """The `Source` of every format: a training part, and validation and test parts where given."""

    info: DataInfo
    train: Part
    search_validation: Part | None
    test: Part | None
    on_corrupt: OnCorrupt

    @classmethod
    def of(
        cls,
        *,
        name: str,
        kind: str,
        classes: Classes,
        channels: int,
        height: int,
        width: int,
        glyphs: bool,
        parts: Mapping[Role, Part],
        origins: Mapping[Role, str],
        left_out: tuple[str, ...] = (),
        on_corrupt: OnCorrupt,
    ) -> PartSource:
        """A source with its `DataInfo` counted from the parts, of which "train" is always there."""
        train, search_validation, test = (parts.get(role) for role in ROLES)
        assert train is not None
        info = DataInfo(
            name=name,
            kind=kind,
            num_classes=len(classes.names),
            class_names=classes.names,
            channels=channels,
            height=height,
            width=width,
            train_count=len(train.labels),
            validation_count=0 if search_validation is None else len(search_validation.labels),
            test_count=0 if test is None else len(test.labels),
            glyphs=glyphs,
            class_counts=classes.counts(train.labels),
            origins={str(role): text for role, text in origins.items()},
            left_out=left_out,
            absent={
                str(role): lacking
                for role, part in parts.items()
                if role != "train" and (lacking := classes.without_images(part.labels))
            },
        )
        return cls(info=info, train=train, search_validation=search_validation, test=test, on_corrupt=on_corrupt)

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
        """Reads all images; see `Source.load`."""
        self.check_trainable()
        _check_options(resolution, validation_share, test_share)
        division = self._division(seed, validation_share, test_share)
        splits, skipped, pixel_range = self._read_parts(division, resolution, levels, progress)
        self._check_classes(splits["train"], skipped)
        mean, std = statistics_of(splits["train"].images, name=self.info.name)
        for note in (_dark_note(splits["train"], self.info.name), describe_duplicates(splits)):
            if note is not None:
                progress.note(note)
        return Dataset(
            info=self.info,
            resolution=resolution,
            train=splits["train"],
            search_validation=splits["search_validation"],
            test=splits["test"],
            mean=mean,
            std=std,
            skipped=tuple(skipped),
            levels=None if pixel_range is None else (pixel_range.black, pixel_range.white),
        )

    def load_to_evaluate(
        self, *, resolution: int, levels: tuple[int, int] | None = None, progress: Progress = SILENT
    ) -> tuple[Split, ...]:
        """Reads the images of the test part, or of all parts if there is none; see `Source.load_to_evaluate`."""
        _check_options(resolution, VALIDATION_SHARE, TEST_SHARE)
        parts = {"train": self.train, "search_validation": self.search_validation}
        wanted = parts if self.test is None else {"test": self.test}
        division = [(part, {name: torch.arange(len(part.labels))}) for name, part in wanted.items() if part is not None]
        splits, _, _ = self._read_parts(division, resolution, levels, progress)
        return tuple(splits.values())

    def check_trainable(self) -> None:
        """Refuses classes that cannot be learnt; see `Source.check_trainable`."""
        if self.info.num_classes < 2:
            raise DataError(
                f"A data set needs at least 2 classes, but {self.info.name} has only"
                f" {shown(self.info.class_names)}: add images of another class."
            )
        needed = 1 + (self.search_validation is None) + (self.test is None)
        for name, count in zip(self.info.class_names, self.info.class_counts, strict=True):
            if count < needed:
                raise DataError(
                    f"Each class needs at least {needed} training images to be divided, but {name!r} of"
                    f" {self.info.name} has {count}: add images or remove the class."
                )

    def _division(self, seed: int, validation_share: float, test_share: float) -> list[tuple[Part, dict[str, Tensor]]]:
        """For each part the splits that it feeds, as indices into it."""
        labels = self.train.labels
        rest = torch.randperm(len(labels), generator=purpose_generator(seed, "order"))
        feeds: list[tuple[Part, dict[str, Tensor]]] = []
        from_train: dict[str, Tensor] = {}
        if self.test is None:
            generator = purpose_generator(seed, "test")
            keep = 2 if self.search_validation is None else 1
            kept, held = hold_out(labels[rest], share=test_share, generator=generator, keep=keep)
            from_train["test"], rest = rest[held], rest[kept]
        else:
            feeds.append((self.test, {"test": torch.arange(len(self.test.labels))}))
        generator = purpose_generator(seed, "search_validation")
        if self.search_validation is None:
            kept, held = hold_out(labels[rest], share=validation_share, generator=generator)
            from_train["search_validation"], rest = rest[held], rest[kept]
        else:
            order = torch.randperm(len(self.search_validation.labels), generator=generator)
            feeds.append((self.search_validation, {"search_validation": order}))
        return [(self.train, {"train": rest, **from_train}), *feeds]

    def _read_parts(
        self,
        division: list[tuple[Part, dict[str, Tensor]]],
        resolution: int,
        levels: tuple[int, int] | None,
        progress: Progress,
    ) -> tuple[dict[str, Split], list[str], PixelRange | None]:
        """The splits of the parts in `division`, what could not be read, and the pixel range: of all parts, or given"""
        parts = [part for part, _ in division]
        total = sum(len(part.labels) for part in parts)
        allocate, mapped = choose_storage(
            images=total,
            channels=self.info.channels,
            resolution=resolution,
            transient_bytes=max(part.transient_bytes for part in parts),
            name=self.info.name,
            progress=progress,
        )
        every = (self.train, self.search_validation, self.test)
        ranges = (part.pixel_range() for part in every if part is not None)
        pixel_range = PixelRange.union(ranges) if levels is None else PixelRange(*levels)
        if levels is None and pixel_range is not None and not pixel_range.is_eight_bit:
            progress.note(pixel_range.described(self.info.name))
        reading = _Reading(progress, total)
        splits: dict[str, Split] = {}
        skipped: list[str] = []
        for part, wanted in division:
            read = self._read(part, wanted, resolution, pixel_range, reading, skipped, allocate)
            splits |= {name: replace(split, mapped=mapped) for name, split in read.items()}
        for name, split in splits.items():
            if not len(split):
                raise DataError(
                    f"No image of the {name} split of {self.info.name} can be read, starting with"
                    f" {skipped[0]}: replace them."
                )
        reading.finish()
        if skipped:
            named = first_few(skipped, NAMED, "; ")
            progress.note(f"{len(skipped)} of {total:,} images cannot be read and are left out: {named}")
        return splits, skipped, pixel_range

    def _read(
        self,
        part: Part,
        wanted: Mapping[str, Tensor],
        resolution: int,
        pixel_range: PixelRange | None,
        reading: _Reading,
        skipped: list[str],
        allocate: Allocate,
    ) -> dict[str, Split]:
        """Reads a part once, each image straight to its place in its split; adds to `skipped` what cannot be read."""
        count, channels = len(part.labels), self.info.channels
        owner = torch.empty(count, dtype=torch.int64)
        place = torch.empty(count, dtype=torch.int64)
        images: list[Tensor] = []
        readable: list[Tensor] = []
        for k, indices in enumerate(wanted.values()):
            owner[indices] = k
            place[indices] = torch.arange(len(indices))
            images.append(allocate((len(indices), resolution, resolution, channels)))
            readable.append(torch.ones(len(indices), dtype=torch.bool))
        for chunk in part.chunks(resolution=resolution, channels=channels, pixel_range=pixel_range):
            if chunk.failed and self.on_corrupt == "refuse":
                first = next(iter(chunk.failed.values()))
                raise DataError(f"An image cannot be read: {first}; replace it, or allow --on-corrupt skip.")
            here = slice(chunk.start, chunk.start + len(chunk.images))
            for k, split in enumerate(images):
                mine = (owner[here] == k).nonzero()[:, 0]
                split[place[here][mine]] = chunk.images[mine]
            for offset, what in chunk.failed.items():
                readable[int(owner[chunk.start + offset])][place[chunk.start + offset]] = False
                skipped.append(what)
            reading.advance(len(chunk.images), skipped=len(skipped))
        splits: dict[str, Split] = {}
        for k, (name, indices) in enumerate(wanted.items()):
            pixels = _compacted(images[k], readable[k])
            splits[name] = Split(images=pixels.permute(0, 3, 1, 2), labels=part.labels[indices[readable[k]]])
        return splits

    def _check_classes(self, train: Split, skipped: list[str]) -> None:
        """Skipping must not leave a class that cannot be learnt."""
        counts = torch.bincount(train.labels, minlength=self.info.num_classes)
        if not counts.all():
            lacking = self.info.class_names[int((counts == 0).nonzero()[0, 0])]
            raise DataError(
                f"Class {lacking!r} of {self.info.name} has no readable training image ({len(skipped)} were"
                f" skipped, starting with {skipped[0]}): add images or remove the class."
            )


class _Reading:
    """The phase "data" of a progress, begun late: data that is refused is mostly refused at once, in one line."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total = progress, total
        self._began = time.monotonic()
        self._started = False
        self._waiting = 0
        self._skipped = 0

    def advance(self, images: int, *, skipped: int) -> None:
        self._waiting += images
        self._skipped = skipped
        if time.monotonic() - self._began > PATIENCE_S:
            self._tell()

    def finish(self) -> None:
        self._tell()
        self._progress.finish()

    def _tell(self) -> None:
        if not self._started:
            self._progress.start("data", self._total, "images")
            self._started = True
        self._progress.advance(self._waiting, skipped=self._skipped)
        self._waiting = 0


def _dark_note(train: Split, name: str) -> str | None:
    """A note where pixels look as if they were of another scale, such as masks of 0 and 1."""
    highest = max(int(part.max()) for part in train.images.split(COMPACTED))
    if highest >= DARK:
        return None
    return (
        f"Pixels of {name} are whole numbers up to {highest} and are read as of 0 to 255: resizing and RandAugment lose"
        f" much of so few levels. Where {highest} is white, save pixels * {255 // highest}"
    )


def statistics_of(images: Tensor, *, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, of pixels in [0, 1]; exact, by counting values.

    Args:
        images: uint8 (N, C, R, R).

    Raises:
        DataError: If all pixels are equal.
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    means: list[float] = []
    stds: list[float] = []
    for channel in images.unbind(1):
        counts = torch.zeros(256, dtype=torch.float64)
        for block in channel.split(4096):
            counts += torch.bincount(block.reshape(-1), minlength=256)
        share = counts / counts.sum()
        mean = (share * values).sum()
        means.append(mean.item())
        stds.append((share * (values - mean) ** 2).sum().sqrt().item())
    if max(stds) < 1e-6:
        raise DataError(
            f"All training pixels of {name} have the same value, {means[0] * 255:.0f}: check how the images were saved."
        )
    # A constant channel (a colour never used) is only shifted: dividing by nothing would give infinities.
    return tuple(means), tuple(std if std >= 1e-6 else 1.0 for std in stds)


def _compacted(images: Tensor, readable: Tensor) -> Tensor:
    """The readable images moved to the front in place, since a copy of a large split might not fit."""
    if readable.all():
        return images
    kept = readable.nonzero()[:, 0]
    for start in range(0, len(kept), COMPACTED):
        source = kept[start : start + COMPACTED]
        images[start : start + len(source)] = images[source]
    return images[: len(kept)]


def _check_options(resolution: int, validation_share: float, test_share: float) -> None:
    if resolution < SMALLEST:
        raise OptionError(
            f"Images need at least {SMALLEST}x{SMALLEST} pixels, not {resolution}: raise --train-resolution."
        )
    for name, share in (("validation_share", validation_share), ("test_share", test_share)):
        if not 0 < share < 1:
            raise OptionError(f"{name} must lie between 0 and 1, but is {share}: 0.2 holds a fifth out.")
