"""How well an exported network does on a data set, in figures of its own: no training, no search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from nas.data import Source, Split, open_data
from nas.data.dataset import DataInfo, OnCorrupt, is_alike, likeness
from nas.errors import DataError
from nas.formats import first_few
from nas.inference.classifier import Classifier
from nas.progress import Progress, Silent
from nas.training.evaluation import standard_error

BINS = 15
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """One class: its images, the share of them that was found, and the share right among those predicted as it.

    Attributes:
        recall: None for a class without images.
        precision: None for a class that was never predicted.
    """

    name: str
    images: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What predictions and true classes give.

    Attributes:
        accuracy: Top-1, from 0 to 1.
        accuracy_error: Its binomial standard error.
        balanced_accuracy: Mean recall of the classes that have images.
        calibration_error: Expected calibration error, from 0 to 1: the mean over images of the difference between
            accuracy and confidence in 15 equal bins of confidence (Guo et al. 2017, arXiv:1706.04599).
        confusion: Images by true class (rows) and predicted class (columns).
    """

    images: int
    accuracy: float
    accuracy_error: float
    balanced_accuracy: float
    calibration_error: float
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The figures of a network on images of a data set; `split` says which images, for people."""

    data: str
    split: str
    figures: Figures

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON, the figures beside `data` and `split`."""
        return {"data": self.data, "split": self.split, **asdict(self.figures)}


def figures_of(logits: torch.Tensor, labels: torch.Tensor, class_names: Sequence[str]) -> Figures:
    """Returns the figures of (N, classes) logits and (N,) true classes; N is at least 1."""
    count, classes = logits.shape
    confidence, predicted = logits.double().softmax(1).max(1)
    right = predicted == labels
    confusion = torch.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    found, actual, claimed = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    accuracy = right.double().mean().item()
    recalls, precisions = _shares(found, actual), _shares(found, claimed)
    present = [recall for recall in recalls if recall is not None]
    return Figures(
        images=count,
        accuracy=accuracy,
        accuracy_error=standard_error(accuracy, count),
        balanced_accuracy=sum(present) / len(present),
        calibration_error=_calibration_error(confidence, right),
        classes=tuple(
            ClassScore(name=name, images=images, recall=recall, precision=precision)
            for name, images, recall, precision in zip(class_names, actual.tolist(), recalls, precisions, strict=True)
        ),
        confusion=tuple(map(tuple, confusion.tolist())),
    )


def _shares(parts: torch.Tensor, wholes: torch.Tensor) -> list[float | None]:
    return [part / whole if whole else None for part, whole in zip(parts.tolist(), wholes.tolist(), strict=True)]


def _calibration_error(confidence: torch.Tensor, right: torch.Tensor) -> float:
    # Bin m holds confidences above m / 15, up to (m + 1) / 15.
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    difference = torch.zeros(BINS, dtype=torch.float64).index_add_(0, bins, right.double() - confidence)
    return difference.abs().sum().item() / len(confidence)


def evaluate_exported(
    classifier: Classifier,
    data: str,
    *,
    on_corrupt: OnCorrupt = "skip",
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Evaluation:
    """Runs a network on the test split of a data set.

    Where the data have none, and are those that the network was trained on (as many training images and classes), the
    test split is made from the training images by the training's seed, as it was then; the images of other data without
    one are all used. Classes go by name; the data may lack some of the network's.

    Raises:
        DataError: If the data cannot be read, or have classes that the network does not know.
    """
    progress = progress or Silent()
    source = open_data(data, on_corrupt=on_corrupt, to_train=False)
    columns = _columns(source.info, classifier.class_names)
    splits, which = _chosen(source, classifier, progress)
    channels = classifier.preprocessing.channels
    if source.info.channels > channels:
        progress.note("The network takes grey images: those of the data are converted.")
    progress.start("evaluate", sum(map(len, splits)), "images")
    logits: list[torch.Tensor] = []
    for images in (part for split in splits for part in split.images.split(batch_size)):
        logits.append(classifier.logits(_with_channels(images, channels), batch_size=batch_size))
        progress.advance(len(images))
    progress.finish()
    labels = columns[torch.cat([split.labels for split in splits])]
    figures = figures_of(torch.cat(logits), labels, classifier.class_names)
    return Evaluation(data=source.info.name, split=which, figures=figures)


def _columns(info: DataInfo, class_names: Sequence[str]) -> torch.Tensor:
    """The index among the logits of each class of the data.

    Raises:
        DataError: If the network does not know one of them.
    """
    known = {name: i for i, name in enumerate(class_names)}
    foreign = [name for name in info.class_names if name not in known]
    if foreign:
        raise DataError(
            f"The network does not know {len(foreign)} of the {info.num_classes} classes of {info.name}: "
            f"{first_few([*map(repr, foreign)], _NAMED)}. It knows {', '.join(map(repr, class_names[:_NAMED]))}"
            f"{', …' if len(class_names) > _NAMED else ''}: name the folders like these."
        )
    return torch.tensor([known[name] for name in info.class_names])


def _chosen(source: Source, classifier: Classifier, progress: Progress) -> tuple[tuple[Split, ...], str]:
    """The images to evaluate on, and which they are."""
    info, facts, prepared = source.info, classifier.product.facts, classifier.preprocessing
    read: dict[str, Any] = {"resolution": prepared.resolution, "levels": prepared.levels, "progress": progress}
    if info.test_count:
        splits, which = source.load_to_evaluate(**read), info.origins.get("test", info.name)
        return splits, f"test split of {info.name}, {which}"
    every = f"all images of {info.name}, which has no test split and"
    may_have_seen = facts.data.startswith(f"{info.name} (")
    changed = (
        f"The network was trained on {facts.data}. These are not the same any more, but it may have seen most of "
        "them, and the figures may be too high: give a test/ folder of images that it has not seen."
    )
    try:
        data = None if facts.seed is None or not _is_trainable(source) else source.load(seed=facts.seed, **read)
    except DataError:  # images that nothing could be trained on, as of a class that has none for it
        data = None
    if data is None:
        if may_have_seen:
            progress.note(changed)
        what = "has changed since the training" if may_have_seen else "is not what the network was trained on"
        return source.load_to_evaluate(**read), f"{every} {what}"
    counts = f" ({len(data.train):,} training images, {info.num_classes} classes)"
    alike = not facts.likeness or is_alike(facts.likeness, likeness(data))  # earlier versions did not keep it
    if facts.data.endswith(counts) and alike:
        which = f"split off its training images by seed {facts.seed} as in training"
        return (data.test,), f"test split of {info.name}, {which}"
    splits = (data.train, data.search_validation, data.test)
    if may_have_seen:
        progress.note(changed)
        return splits, f"{every} has changed since the training"
    return splits, f"{every} is not what the network was trained on"


def _is_trainable(source: Source) -> bool:
    try:
        source.check_trainable()
    except DataError:
        return False
    return True


def _with_channels(images: torch.Tensor, channels: int) -> torch.Tensor:
    """The images as the network wants them: grey ones repeated, colors as their luma (ITU-R 601, as Pillow has it)."""
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    weights = torch.tensor([19595, 38470, 7471], dtype=torch.int32).view(1, 3, 1, 1)
    return (((images.int() * weights).sum(1, keepdim=True) + 0x8000) >> 16).to(torch.uint8)
