"""An exported network that a training learns from: read, compared with the data, and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.data import Dataset
from nas.errors import ArchitectureError, ExportError, OptionError, RunError
from nas.export.folder import FILES, read_exported
from nas.networks.network import Network, build, resize_tables
from nas.run import exported_folder
from nas.run.files import file_digest

_REMEDY = "Give a folder with an architecture.yaml and a weights.safetensors, such as winners/1 of a run."


class GivenTeacher:
    """A network in a folder that an export wrote, or in that of a `nas train`, at the data's training resolution.

    Attributes:
        network: With its weights, for images that are normalized as the data's are.
        origin: The `folder` name, and the `sha256` of its weights.

    Raises:
        OptionError: If it cannot be read, or is not of the data's channels and classes.
    """

    network: nn.Module
    origin: dict[str, Any]

    def __init__(self, folder: str | Path, data: Dataset) -> None:
        given = Path(folder)
        try:
            folder = exported_folder(given)
        except RunError as fault:
            raise OptionError(f"--teacher {given}: {fault}") from None
        if not (folder / FILES["weights"]).is_file():
            raise OptionError(f"--teacher {given}: it has no {FILES['weights']}. {_REMEDY}")
        try:
            product, network = read_exported(folder)
            resized = build(product.architecture.at_resolution(data.resolution))
            resized.load_state_dict(resize_tables(network.state_dict(), resized))
        except (ExportError, ArchitectureError) as fault:
            raise OptionError(f"--teacher {folder}: {str(fault).split('. Delete')[0][:200]}. {_REMEDY}") from None
        has = (product.architecture.input.channels, product.architecture.num_classes)
        wants = (data.info.channels, data.info.num_classes)
        if has != wants:
            raise OptionError(
                f"--teacher {folder}: it is of {has[0]} channels and {has[1]} classes, and the data has {wants[0]} and "
                f"{wants[1]}. Give a network that was trained on these classes."
            )
        if product.class_names and product.class_names != data.info.class_names:
            raise OptionError(
                f"--teacher {folder}: its classes have other names or another order than the data's. Give a network "
                "that was trained on these classes."
            )
        alike = not product.mean or (product.mean, product.std) == (data.mean, data.std)
        self.network = resized if alike else _Renormalized(resized, data, mean=product.mean, std=product.std)
        self.origin = {"folder": given.resolve().name, "sha256": file_digest(folder / FILES["weights"])}


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
