"""An exported network with the preparation of its images."""

from __future__ import annotations

from pathlib import Path

import torch

from nas.data import Batches, Split
from nas.errors import ExportError
from nas.export.exported_model import ExportedModel
from nas.export.folder import FILES, read_exported
from nas.export.preprocessing import Preprocessing
from nas.networks.network import Network
from nas.run import exported_folder
from nas.training.device import choose_device
from nas.training.weights_file import first_not_finite


class Classifier:
    """An exported network in eval mode, at the resolution of its weights.

    Args:
        folder: A winner's folder, or that of a `nas train`.
        device: As `--device`.

    Attributes:
        product: What its folder says of it.
        preprocessing: How images are prepared.
        class_names: In the order of the logits.

    Raises:
        RunError: If the folder holds no exported network.
        ExportError: If that is not whole, its weights are not finite, or it does not say how images are prepared.
    """

    def __init__(self, folder: str | Path, *, device: str = "auto") -> None:
        self.folder = exported_folder(Path(folder))
        self.product: ExportedModel
        self._network: Network
        self.product, self._network = read_exported(self.folder)
        prepared = self.product.preprocessing
        if prepared is None:
            raise ExportError(
                f"{self.folder} does not say how images are prepared: give a network of nas-search or nas train."
            )
        lacking = first_not_finite(self._network.state_dict())
        if lacking is not None:
            raise ExportError(
                f"{self.folder / FILES['weights']}: {lacking} has values that are not finite. Export the network again."
            )
        self.preprocessing: Preprocessing = prepared
        self.class_names = self.product.class_names or tuple(
            f"class {i}" for i in range(self.product.architecture.num_classes)
        )
        self._device = choose_device(device)
        self._network.to(self._device)

    def logits(self, images: torch.Tensor, *, batch_size: int = 64) -> torch.Tensor:
        """Returns the logits of images, normalized as in training: (N, classes), float32, on the CPU.

        Args:
            images: uint8 (N, channels, resolution, resolution), stored channels last.
        """
        split = Split(images=images, labels=torch.zeros(len(images), dtype=torch.int64))
        batches = Batches(
            split,
            batch_size=batch_size,
            mean=self.preprocessing.mean,
            std=self.preprocessing.std,
            device=self._device,
        )
        with torch.inference_mode():
            return torch.cat([self._network(x).float().cpu() for x, _ in batches])
