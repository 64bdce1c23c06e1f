"""Data sets of the Hugging Face hub, by the optional package `datasets`."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np

from nas.data.assembly import PartSource
from nas.data.dataset import OnCorrupt, Source
from nas.data.encoded import EncodedPart, survey
from nas.data.labels import Classes, names_look_like_glyphs, plain_labels
from nas.data.messages import in_one_line, shown
from nas.data.split_names import Role, by_role
from nas.errors import DataError

LABELS = ("label", "labels", "fine_label")


def open_hub(name: str, *, on_corrupt: OnCorrupt) -> Source:
    """Returns the source `hf:NAME` or `hf:NAME:CONFIG`; downloads what is not cached. Runs no code from the hub.

    Raises:
        DataError: If `datasets` is not installed, or the data set cannot be loaded or has no images or labels.
    """
    found = importlib.util.find_spec("datasets")
    # Without an origin it is a folder that happens to be called datasets, not the package.
    if found is None or found.origin is None:
        raise DataError(f"'hf:{name}' needs the extra 'hf': pip install 'hybrid-nas[hf]'.")
    hub = importlib.import_module("datasets")
    path, _, config = name.partition(":")
    try:
        loaded: Mapping[str, Any] = hub.load_dataset(path, config or None)
    except Exception as error:  # anything can fail in there, from the network to parsers
        line = in_one_line(error)
        raise DataError(f"'hf:{name}' cannot be loaded ({line}): check the name and the network.") from error
    splits = {half: rows for half, rows in loaded.items() if len(rows)}
    halves = by_role(splits, what=f"'hf:{name}'")
    if "train" not in halves:
        raise DataError(f"'hf:{name}' has no split 'train', only {shown(list(splits))}: use another data set.")
    features = splits[halves["train"]].features
    image, label = _columns(features, name)
    names = tuple(getattr(features[label], "names", None) or ())
    labels = {
        half: plain_labels(np.asarray(splits[half][label]), what=f"{half} of hf:{name}") for half in halves.values()
    }
    classes = Classes.of(labels[halves["train"]], what=f"hf:{name}", names=names)
    undecoded = hub.Image(decode=False)

    def part(half: str) -> EncodedPart:
        rows = splits[half].cast_column(image, undecoded)
        return EncodedPart(
            labels=classes.indices(labels[half], what=f"{half} of hf:{name}"),
            fetch=lambda i: _content(rows[i][image]),
            name=lambda i: f"{half}[{i}]",
        )

    others = tuple(half for half in splits if half not in halves.values())
    left_out = [f"split {half} ({len(splits[half]):,} images), whose name is not known" for half in others]
    unlabeled = halves.get("test")
    if unlabeled is not None and labels[unlabeled].dtype.kind == "i" and bool((labels[unlabeled] == -1).all()):
        # Competitions publish test images with the label -1, "unknown": such a set tests nothing.
        del halves["test"]
        left_out.append(f"split {unlabeled} ({len(splits[unlabeled]):,} images), which has no labels")
    parts: dict[Role, EncodedPart] = {role: part(half) for role, half in halves.items()}
    seen = survey(parts["train"], what=f"hf:{name}")
    return PartSource.of(
        name=f"hf:{name}",
        kind="hf",
        classes=classes,
        channels=seen.channels,
        height=seen.height,
        width=seen.width,
        glyphs=names_look_like_glyphs(classes.names) if names else seen.channels == 1,
        parts=parts,
        origins=dict(halves),
        left_out=tuple(left_out),
        on_corrupt=on_corrupt,
    )


def _columns(features: Mapping[str, Any], name: str) -> tuple[str, str]:
    """Returns the image column and the label column."""
    kinds = {column: type(feature).__name__ for column, feature in features.items()}
    images = [column for column, kind in kinds.items() if kind == "Image"]
    labels = [column for column, kind in kinds.items() if kind == "ClassLabel"]
    named = [column for column in LABELS if column in kinds]
    if len(images) != 1:
        raise DataError(f"'hf:{name}' must have one image column, but has {shown(images)}: use another data set.")
    if named:
        return images[0], named[0]
    if len(labels) != 1:
        raise DataError(
            f"'hf:{name}' must have one label column, called 'label' or of type ClassLabel, but has"
            f" {shown(labels)}: rename one to 'label'."
        )
    return images[0], labels[0]


def _content(cell: Mapping[str, Any]) -> bytes | str:
    return cell["bytes"] if cell.get("bytes") is not None else cell["path"]
