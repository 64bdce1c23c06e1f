"""An exported network that a training learns from: read, compared with the data, and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.data import DataInfo, Dataset
from nas.data.dataset import describe_data
from nas.errors import ArchitectureError, ExportError, OptionError, RunError
from nas.export.folder import FILES, read_exported
from nas.networks.network import Network, build, resize_tables
from nas.run import exported_folder
from nas.run.files import file_digest
from nas.training.weights_file import first_not_finite

_REMEDY = "Give a folder with an architecture.yaml and a weights.safetensors, such as winners/1 of a run."


class GivenTeacher:
    """A network in a folder that an export wrote, or in that of a `nas train`.

    Args:
        folder: Its own, or that of the training.
        info: What is known of the data before they are read.
        resolution: The image side of the training.

    Attributes:
        origin: The `folder` name, and the `sha256` of its weights.
        change: A line that says so if it sees images of another side than it was trained on, else None.

    Raises:
        OptionError: If it cannot be read, is not finite, or is not of the data's channels and classes.
    """

    origin: dict[str, Any]
    change: str | None

    def __init__(self, folder: str | Path, info: DataInfo, *, resolution: int) -> None:
        given = Path(folder)
        try:
            folder = exported_folder(given)
        except RunError as fault:
            raise OptionError(f"--teacher {given}: {fault}") from None
        if not (folder / FILES["weights"]).is_file():
            raise OptionError(f"--teacher {given}: it has no {FILES['weights']}. {_REMEDY}")
        try:
            product, network = read_exported(folder)
            self._network = build(product.architecture.at_resolution(resolution))
            self._network.load_state_dict(resize_tables(network.state_dict(), self._network))
        except (ExportError, ArchitectureError) as fault:
            raise OptionError(f"--teacher {folder}: {str(fault).split('. Delete')[0][:200]}. {_REMEDY}") from None
        spoiled = first_not_finite(network.state_dict())
        if spoiled is not None:
            raise OptionError(f"--teacher {given}: {spoiled} has numbers that are not finite. Give another network.")
        has = (product.architecture.input.channels, product.architecture.num_classes)
        wants = (info.channels, info.num_classes)
        if has != wants:
            raise OptionError(
                f"--teacher {folder}: it is of {has[0]} channels and {has[1]} classes, and the data has {wants[0]} and "
                f"{wants[1]}. Give a network that was trained on these classes."
            )
        if product.class_names and product.class_names != info.class_names:
            raise OptionError(
                f"--teacher {folder}: its classes have other names or another order than the data's. Give a network "
                "that was trained on these classes."
            )
        own = product.trained_resolution
        self.change = (
            None
            if own == resolution
            else f"Teacher: trained on {own}x{own} pixels, it teaches at {resolution}x{resolution}"
        )
        self._mean, self._std, self._facts = product.mean, product.std, product.facts
        self.origin = {"folder": given.resolve().name, "sha256": file_digest(folder / FILES["weights"])}

    def caution(self, data: Dataset, seed: int) -> str | None:
        """Returns a caution if it was trained on images that are for validation or the test here, else None.

        If the data have no validation or test set of their own, the seed splits these off the training images.
        """
        cut = data.info.split_off
        theirs = self._facts.seed
        if not cut or theirs is None or theirs == seed or self._facts.data != describe_data(data):
            return None
        return (
            f"The teacher was trained with --seed {theirs}, so {cut} images of --seed {seed} were among its training "
            f"images: {cut} accuracy may be too high."
        )

    def network(self, data: Dataset) -> nn.Module:
        """Returns it for images that are normalized as the data's are."""
        if not self._mean or (self._mean, self._std) == (data.mean, data.std):
            return self._network
        return _Renormalized(self._network, data, mean=self._mean, std=self._std)


class _Renormalized(nn.Module):
    """A network for images with another normalization than the data's."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, network: Network, data: Dataset, *, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        theirs, ours = (torch.tensor(each, dtype=torch.float64) for each in (std, data.std))
        shift = (torch.tensor(data.mean, dtype=torch.float64) - torch.tensor(mean, dtype=torch.float64)) / theirs
        self.register_buffer("scale", (ours / theirs).float().view(1, -1, 1, 1))
        self.register_buffer("shift", shift.float().view(1, -1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x * self.scale + self.shift)


def teacher_note(origin: dict[str, Any], weight: float) -> str:
    """Returns the card's sentence about a teacher.

    Args:
        origin: As `GivenTeacher` has it.
        weight: The share of its soft labels in the loss.
    """
    return (
        f"It learned from the labels and, with {weight:.0%} of the loss, from the network in {origin['folder']} "
        f"(weights {origin['sha256'][:16]})."
    )
