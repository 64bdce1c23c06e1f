"""Whether given weights were trained on images that are for validation or the test here."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from nas.data import DataInfo
from nas.data.dataset import described
from nas.errors import RunError
from nas.networks.sealed_file import metadata_of

_READABLE = 0.95
"""At least this share of the images that are listed could be read, where it is not known how many."""
_SEEN = "may have trained the weights that this training began with"


def seen_caution(path: Path, info: DataInfo, seed: int, *, given: str, read: int | None = None) -> str | None:
    """Returns a caution if weights may have been trained on validation or test images, else None.

    If the data have no validation or test set of their own, the seed splits these off the training images. The
    metadata of exported weights says what they were trained on.

    Args:
        path: A .safetensors file.
        seed: That splits them.
        given: What the weights are called in messages.
        read: How many training images could be read; None before they are.

    Raises:
        RunError: If they were trained on the same data, split by another seed.
    """
    cut = info.split_off
    if not cut:
        return None
    card, class_names = trained_on(path)
    theirs, images = card.get("seed"), _images_of(str(card.get("data")), info)
    known = info.divided()[0] if read is None else read
    least = known if read is not None else _READABLE * known
    if class_names == [*info.class_names] and least <= images <= known:
        if isinstance(theirs, int) and theirs != seed:
            raise RunError(
                f"{given} was trained with --seed {theirs}, which puts {cut} images of --seed {seed} into its "
                f"training images. Give --seed {theirs}."
            )
        if theirs == seed and images == known and _SEEN not in str(card.get("notes")):
            return None
    return f"The {cut} images are split off the training images and {_SEEN}: {cut} accuracy may be too high."


def _images_of(told: str, info: DataInfo) -> int:
    """The training images that a card's description names; -1 if it is of other data."""
    found = re.search(r" \(([\d,]+) training image", told)
    images = int(found[1].replace(",", "")) if found else -1
    return images if told == described(info, images) else -1


def trained_on(path: Path) -> tuple[dict[str, Any], Any]:
    """Returns the training metadata of exported weights and their class names; empty if there are none."""
    with suppress(KeyError, ValueError):
        stored = metadata_of(path)
        card, class_names = json.loads(stored["card"]), json.loads(stored["class_names"])
        return (card if isinstance(card, dict) else {}), class_names
    return {}, None
