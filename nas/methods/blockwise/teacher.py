"""The teacher of a block-wise distillation: read from its folder, and checked to be the same when a run resumes."""

from __future__ import annotations

from pathlib import Path

import torch

from nas.data import Dataset
from nas.errors import ArchitectureError, ExportError, OptionError, RunError
from nas.export.exported_model import ExportedModel
from nas.export.folder import FILES, read_exported
from nas.methods.blockwise.blocks import Blocks
from nas.methods.blockwise.distillation import Taps, Teacher, block_ends, tapped
from nas.networks.network import Network, build, resize_tables
from nas.run.files import file_digest
from nas.spaces import SearchSpace


class TrainedTeacher:
    """A network exported by `nas export`, matched to the blocks of a space.

    Args:
        folder: The folder with its architecture.yaml and weights.safetensors.
        space: The space at the resolution at which costs are counted.
        train_resolution: Resolution of the teacher's input.

    Attributes:
        facts: `path`, and the digests of the `architecture` and of the weights, `sha256`.
        channels: Channels of its map at the end of each block.

    Raises:
        OptionError: If it cannot be read, has another number of input channels, or cannot be matched.
    """

    def __init__(self, folder: str | Path, space: SearchSpace, blocks: Blocks, *, train_resolution: int) -> None:
        folder = Path(folder).absolute()
        remedy = "Give a folder with an architecture.yaml and a weights.safetensors, such as winners/1 of a run."
        for name in (FILES["config"], FILES["weights"]):
            if not (folder / name).is_file():
                raise OptionError(f"--teacher {folder}: it has no {name}. {remedy}")
        try:
            product, network = read_exported(folder)
        except (ExportError, ArchitectureError) as fault:
            raise OptionError(f"--teacher {folder}: {str(fault).split('. Delete')[0][:200]}. {remedy}") from None
        self._product: ExportedModel = product
        try:
            self._taps: Taps = block_ends(space, blocks.cut, product.architecture)
        except OptionError as fault:
            raise OptionError(f"--teacher {folder}: {fault}") from None
        wants, has = space.input.channels, product.architecture.input.channels
        if has != wants:
            raise OptionError(
                f"--teacher {folder}: it takes images of {has} channels, and the data has {wants}. Give a network that "
                "was trained on such images."
            )
        try:
            self._network: Network = build(product.architecture.at_resolution(train_resolution)).eval()
        except ArchitectureError as fault:
            raise OptionError(
                f"--teacher {folder}: it cannot be built for {train_resolution} pixels: {fault} Give another "
                "--train-resolution."
            ) from None
        self._network.load_state_dict(resize_tables(network.state_dict(), self._network))
        image = torch.zeros(1, has, train_resolution, train_resolution)
        with torch.no_grad():
            self.channels = tuple(x.shape[1] for x in tapped(self._network, self._taps, image))
        self.facts = {
            "path": str(folder),
            "architecture": product.architecture.digest,
            "sha256": file_digest(folder / FILES["weights"]),
        }

    def ready(self, data: Dataset, device: str) -> Teacher:
        """Builds the teacher for the images that blocks are trained on."""
        product = self._product
        return Teacher(self._network, self._taps, data, mean=product.mean, std=product.std, device=device)


def planned_teacher(
    facts: dict[str, str], train_resolution: int, space: SearchSpace, blocks: Blocks, where: Path
) -> TrainedTeacher:
    """Loads the teacher of a plan.

    Args:
        facts: `TrainedTeacher.facts` at the start of the run.
        where: The run's directory, for errors.

    Raises:
        RunError: If the teacher is missing or has changed.
    """
    path = facts.get("path", "?")
    try:
        found = TrainedTeacher(path, space, blocks, train_resolution=train_resolution)
    except OptionError as fault:
        raise RunError(f"{where} cannot go on without its teacher: {fault}") from None
    if found.facts != facts:
        raise RunError(
            f"The teacher in {path} has changed since {where} was begun: restore it, or start a new run with another "
            "--out."
        )
    return found
