"""A file of weights that a training begins with: read, compared with the data, and recorded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from nas.architecture import Architecture
from nas.data import Dataset
from nas.data.dataset import describe_data
from nas.errors import RunError
from nas.networks.classes import in_order, per_class
from nas.networks.network import Network
from nas.progress import Progress
from nas.run.files import file_digest
from nas.training import Started, start_from
from nas.training.weights_file import PICKLES, converting, load_weights, metadata_of

_SEEN = "may have trained the weights that this training began with"


class GivenWeights:
    """A .safetensors file of initial weights.

    Args:
        network: What the config is called, for messages.

    Attributes:
        digest: SHA-256 of the file.

    Raises:
        RunError: If it cannot be read.
    """

    def __init__(self, path: str | Path, *, network: str) -> None:
        self.path = Path(path)
        self._state = _read(self.path, network)
        self.digest = file_digest(self.path)

    def start(
        self, network: Network, architecture: Architecture, class_names: Sequence[str], progress: Progress
    ) -> Started:
        """Copies what fits into `network` and says what does not.

        Where the file names its classes, the head follows: in the order of the data's, or new if they are others.

        Args:
            architecture: The network's.
            class_names: Of the data, in the order of the network's logits.

        Raises:
            TrainingError: If they are those of another network.
        """
        theirs, state, replaced = _told_of(self.path)[1], self._state, set[str]()
        if isinstance(theirs, list) and len(theirs) == len(class_names) and theirs != [*class_names]:
            rows = per_class(architecture)
            if sorted(map(str, theirs)) == sorted(class_names):
                state = in_order(state, rows & {*state}, given=theirs, wanted=class_names)
                progress.note(f"The head's rows of {self.path} are put in the order of these classes")
            else:
                replaced = rows
        started = start_from(network, state, source=str(self.path), replaced=replaced)
        for line in started.notes(str(self.path)):
            progress.note(line)
        return started

    def normalized(self, data: Dataset, progress: Progress) -> Dataset:
        """Returns the data with the normalization that the weights' file names, where it does; said if it differs."""
        stored = metadata_of(self.path)
        try:
            mean, std = (tuple(float(value) for value in json.loads(stored[name])) for name in ("mean", "std"))
        except (KeyError, ValueError, TypeError):
            return data
        if not len(mean) == len(std) == data.info.channels or (mean, std) == (data.mean, data.std):
            return data
        shown = [" ".join(f"{value:.4g}" for value in each) for each in (mean, std)]
        progress.note(f"Images are normalized as for {self.path}: mean {shown[0]}, standard deviation {shown[1]}")
        return replace(data, mean=mean, std=std)

    def caution(self, data: Dataset, seed: int) -> str | None:
        """Returns a caution if they may have been trained on validation or test images, else None.

        If the data have no validation or test set of their own, the seed splits these off the training images. The
        metadata of exported weights says what they were trained on.

        Raises:
            RunError: If they were trained on the same data, split by another seed.
        """
        cut = data.info.split_off
        if not cut:
            return None
        card, class_names = _told_of(self.path)
        theirs = card.get("seed")
        if card.get("data") == describe_data(data) and class_names == [*data.info.class_names]:
            if isinstance(theirs, int) and theirs != seed:
                raise RunError(
                    f"{self.path} was trained with --seed {theirs}, which puts {cut} images of --seed {seed} into its "
                    f"training images. Give --seed {theirs}."
                )
            if theirs == seed and _SEEN not in str(card.get("notes")):
                return None
        return f"The {cut} images are split off the training images and {_SEEN}: {cut} accuracy may be too high."


def origin_note(origin: dict[str, Any]) -> str:
    """Returns the card's sentence about the weights that a training began with.

    Args:
        origin: Their `file` name, `sha256`, and the numbers of tensors `taken` from it and left `random`.
    """
    return (
        f"Its training began with the weights in {origin['file']} (sha256 {origin['sha256'][:16]}): {origin['taken']} "
        f"tensors were copied, {origin['random']} began at random."
    )


def _read(path: Path, network: str) -> dict[str, torch.Tensor]:
    try:
        if not path.is_file():
            raise OSError("it is not a file" if path.exists() else "there is no such file")
        if path.suffix in PICKLES:
            raise RunError(f"{path} {converting(path, network)}")
        return load_weights(path)
    except (SafetensorError, OSError) as fault:
        raise RunError(f"Cannot read weights from {path}: {str(fault)[:120]}. Give a .safetensors file.") from None


def _told_of(path: Path) -> tuple[dict[str, Any], Any]:
    """Returns the training metadata of exported weights and their class names; empty if there are none."""
    with suppress(KeyError, ValueError):
        stored = metadata_of(path)
        card, class_names = json.loads(stored["card"]), json.loads(stored["class_names"])
        return (card if isinstance(card, dict) else {}), class_names
    return {}, None
