"""Batches of a split: shuffled, augmented and normalized, a whole batch at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from nas.data.augmentation import ImageAugmentation
from nas.data.dataset import DataInfo, Split
from nas.errors import OptionError
from nas.registry import unknown

Augment = Literal["none", "crop", "crop-flip"]
READERS = 4
"""Threads that read batches of images on disk ahead; each holds one."""
POLICIES = ("auto", *get_args(Augment))


def choose_augment(policy: str, info: DataInfo) -> Augment:
    """Resolves an augmentation policy: "auto" crops, and flips images unless that may change their class.

    Flipping changes characters and digits; gray images are mostly of such a kind (scans, spectrograms), so they are
    not flipped either.

    Raises:
        OptionError: If there is no such policy.
    """
    if policy == "auto":
        return "crop" if info.glyphs or info.channels == 1 else "crop-flip"
    for augment in get_args(Augment):
        if augment == policy:
            return augment
    raise OptionError(unknown("augmentation", policy, POLICIES))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Draws:
    """All random values of one epoch, by position in it."""

    order: Tensor
    down: Tensor | None = None
    right: Tensor | None = None
    mirrored: Tensor | None = None
    seeds: Tensor | None = None
    """One per batch, of what `ImageAugmentation` does to it."""


class Batches:
    """Iterates over a split in batches of (images, labels).

    Images are (B, C, R, R), channels last, of `dtype`, normalized by `mean` and `std`; labels are int64 (B,). With an
    augmentation, each image is shifted by up to an eighth of its size in both directions (He et al. 2016,
    arXiv:1512.03385, but with reflect padding instead of black) and, with "crop-flip", flipped horizontally half of
    the time. `varied` comes on top; its random resized crop takes the place of the shift.

    Each epoch takes one number from `generator` and seeds everything else with it. Equal states thus give equal bits,
    even if the previous epoch was not read to its end, and `epoch(first_batch=k)` resumes an epoch.

    Args:
        batch_size: Images per batch; limited to the size of the split, so that `drop_last` does not drop all.
        mean, std: Per channel, of pixels in [0, 1], as in `Dataset`.
        generator: On the CPU; needed to shuffle or augment.
        drop_last: Whether to leave out a last batch that is not full.
        rows: The images (first, end) of each batch that are made where several processes share it; None for all.
        device: Device of the batches. Images are gathered on the split's device, so `split.to(device)` saves the
            transfer.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        augment: Augment = "none",
        varied: ImageAugmentation | None = None,
        generator: torch.Generator | None = None,
        shuffle: bool = False,
        drop_last: bool = False,
        rows: tuple[int, int] | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        assert len(split) > 0
        if batch_size < 1:
            raise OptionError(f"A batch needs at least 1 image, not {batch_size}: raise --batch-size.")
        if augment not in get_args(Augment):
            raise OptionError(unknown("augmentation", augment, get_args(Augment)))
        self._varied = varied if varied is not None and varied.active else None
        varies = augment != "none" or self._varied is not None
        # A batch that is not full has other rows, and what varies images goes on from one image to the next.
        assert rows is None or (drop_last and self._varied is None), "rows are of whole batches, shifted and flipped"
        assert generator is not None or not (shuffle or varies), "shuffling and augmenting need a generator"
        count, channels, size, width = split.images.shape
        assert size == width, split.images.shape
        assert len(mean) == len(std) == channels, (channels, mean, std)
        self.batch_size = min(batch_size, count)
        self._rows = rows or (0, self.batch_size)
        self.augment: Augment = augment
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.device = torch.device(device)
        self.dtype = dtype
        self._generator = generator
        self._labels, self._mapped = split.labels, split.mapped
        self._size = size
        self._pixels = split.images.permute(0, 2, 3, 1).reshape(count * size * size, channels)
        self._index_dtype = torch.int32 if len(self._pixels) < 2**31 else torch.int64
        # (x / 255 - mean) / std as one multiplication and one addition
        scale = 1 / (255 * torch.tensor(std, dtype=torch.float64))
        shift = -torch.tensor(mean, dtype=torch.float64) / torch.tensor(std, dtype=torch.float64)
        self._scale = scale.to(self.device, torch.float32).view(1, -1, 1, 1)
        self._shift = shift.to(self.device, torch.float32).view(1, -1, 1, 1)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        full, rest = divmod(len(self._labels), self.batch_size)
        return full + bool(rest and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.epoch()

    def epoch(self, *, first_batch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Returns the batches of one pass over the split, from batch `first_batch` on."""
        draws = self._draw()  # sampled now, not at the first batch
        numbers = range(first_batch, len(self))
        return self._read_ahead(draws, numbers) if self._mapped else (self._batch(draws, k) for k in numbers)

    def _read_ahead(self, draws: _Draws, numbers: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields batches that threads read from the disk and make while earlier ones are used."""
        with ThreadPoolExecutor(max_workers=READERS) as pool:
            pending: deque[Future[tuple[Tensor, Tensor]]] = deque()
            try:
                for k in numbers:
                    pending.append(pool.submit(self._batch, draws, k))
                    if len(pending) > READERS:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for each in pending:
                    each.cancel()

    def _draw(self) -> _Draws:
        count = len(self._labels)
        if self._generator is None:
            return _Draws(order=torch.arange(count))
        seed = int(torch.randint(2**62, (), generator=self._generator))
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
        down = right = mirrored = seeds = None
        if self.augment != "none":
            reach = 0 if self._varied is not None and self._varied.resized_crop else max(self._size // 8, 1)
            down, right = torch.randint(-reach, reach + 1, (2, count), generator=generator)
            mirrored = torch.rand(count, generator=generator) < 0.5 if self.augment == "crop-flip" else None
        if self._varied is not None:
            seeds = torch.randint(2**62, (len(self),), generator=generator)
        return _Draws(order=order, down=down, right=right, mirrored=mirrored, seeds=seeds)

    def _batch(self, draws: _Draws, k: int) -> tuple[Tensor, Tensor]:
        first, end = self._rows
        here = slice(k * self.batch_size + first, k * self.batch_size + end)
        home = self._pixels.device
        chosen = draws.order[here].to(home)
        labels = self._labels[chosen].to(self.device)
        size = self._size
        if draws.down is None or draws.right is None:
            pixels = self._pixels.view(-1, size * size * self._pixels.shape[1]).index_select(0, chosen)
        else:
            mirrored = None if draws.mirrored is None else draws.mirrored[here].to(home)
            pixels = self._moved(chosen, draws.down[here].to(home), draws.right[here].to(home), mirrored)
        images = pixels.view(len(chosen), size, size, -1).permute(0, 3, 1, 2).to(self.device)
        images = images.float()
        if self._varied is None or draws.seeds is None:
            images = torch.addcmul(self._shift, images, self._scale)
        else:
            chance = torch.Generator().manual_seed(int(draws.seeds[k]))
            images = self._varied.changed(images.div_(255), chance).mul_(255)
            images = torch.addcmul(self._shift, images, self._scale)
            images = self._varied.erased(images, chance)
        return images.to(self.dtype, memory_format=torch.channels_last), labels

    def _moved(self, chosen: Tensor, down: Tensor, right: Tensor, mirrored: Tensor | None) -> Tensor:
        """Returns the shifted images, by one look-up of pixels: (B * R * R, C)."""
        size = self._size
        along = torch.arange(size, device=chosen.device)
        across = along if mirrored is None else torch.where(mirrored[:, None], size - 1 - along, along)
        rows = chosen[:, None] * size + _reflected(along + down[:, None], size)
        columns = _reflected(across + right[:, None], size)
        index = (rows * size).to(self._index_dtype)[:, :, None] + columns.to(self._index_dtype)[:, None, :]
        return self._pixels.index_select(0, index.view(-1))


def _reflected(index: Tensor, size: int) -> Tensor:
    """Reflects indices beyond an axis at its ends, as in reflect padding: -1 becomes 1, `size` becomes size - 2."""
    return size - 1 - (size - 1 - index.abs()).abs()
