"""Classes of image files, read by the code that reads training images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from nas.data.images import UnreadableImageError, decode
from nas.data.pixel_range import PixelRange
from nas.inference.classifier import Classifier
from nas.machine import available_cores
from nas.progress import Progress, Silent


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassProbability:
    """A class with its index among the logits and its probability, the softmax of its logit."""

    name: str
    index: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The most probable classes of an image file, best first; `error` says why it cannot be read, or is None."""

    path: str
    classes: tuple[ClassProbability, ...] = ()
    error: str | None = None


def predict(
    classifier: Classifier,
    paths: Sequence[str],
    *,
    top: int = 5,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> list[Prediction]:
    """Returns a prediction for each file, in order; files that cannot be read are among them.

    Args:
        top: How many classes of each; at most all.
        batch_size: So many images are read and run at once.
    """
    progress = progress or Silent()
    prepared = classifier.preprocessing
    read = partial(
        _read,
        resolution=prepared.resolution,
        channels=prepared.channels,
        pixel_range=None if prepared.levels is None else PixelRange(*prepared.levels),
    )
    found: list[Prediction] = []
    progress.start("predict", len(paths), "images")
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, available_cores())) as pool:
        warnings.simplefilter("ignore")  # Pillow's, of defects that do not matter
        for start in range(0, len(paths), batch_size):
            chunk = paths[start : start + batch_size]
            images = list(pool.map(read, chunk))
            found += _predicted(classifier, chunk, images, top)
            progress.advance(len(chunk))
    progress.finish()
    return found


def _read(path: str, *, resolution: int, channels: int, pixel_range: PixelRange | None) -> np.ndarray | str:
    """Returns the pixels, or why the file cannot be read."""
    try:
        return np.array(decode(path, resolution=resolution, channels=channels, pixel_range=pixel_range))
    except UnreadableImageError as error:
        return str(error)


def _predicted(
    classifier: Classifier, paths: Sequence[str], images: Sequence[np.ndarray | str], top: int
) -> list[Prediction]:
    readable = [image for image in images if not isinstance(image, str)]
    rows = iter(())
    if readable:
        pixels = torch.from_numpy(np.stack(readable)).permute(0, 3, 1, 2)
        rows = iter(classifier.logits(pixels, batch_size=len(readable)).softmax(1))
    return [
        Prediction(path=path, error=image)
        if isinstance(image, str)
        else Prediction(path=path, classes=_best(next(rows), classifier.class_names, top))
        for path, image in zip(paths, images, strict=True)
    ]


def _best(probabilities: torch.Tensor, names: Sequence[str], top: int) -> tuple[ClassProbability, ...]:
    order = probabilities.argsort(descending=True, stable=True)[:top].tolist()
    return tuple(ClassProbability(name=str(names[i]), index=i, probability=float(probabilities[i])) for i in order)
