"""A file of weights that a training begins with: read, compared with the data, and recorded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from nas.architecture import Architecture
from nas.data import Dataset
from nas.errors import RunError
from nas.networks.classes import in_order, per_class
from nas.networks.network import Network
from nas.networks.sealed_file import metadata_of
from nas.progress import Progress
from nas.run.files import expanded, file_digest
from nas.training import Started, start_from
from nas.training.seen_images import seen_caution, trained_on
from nas.training.weights_file import converting, load_weights, may_be_pickle


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
        self.path = Path(expanded(path))
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
        theirs, state, replaced = trained_on(self.path)[1], self._state, set[str]()
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
        return seen_caution(self.path, data.info, seed, given=str(self.path), read=len(data.train))


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
        if may_be_pickle(path):
            raise RunError(f"{path} {converting(path, network)}")
        return load_weights(path)
    except (SafetensorError, OSError) as fault:
        raise RunError(f"Cannot read weights from {path}: {str(fault)[:120]}. Give a .safetensors file.") from None
