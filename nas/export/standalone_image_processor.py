"""What an exported `image_processing_hybrid_nas.py` holds: images prepared as in training, for transformers.

`nas.export.formats.hugging_face` copies it; the values are in `preprocessor_config.json`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

from nas.export.standalone_images import prepared


class HybridNasImageProcessor(BaseImageProcessor):
    """Images (of Pillow, or arrays (height, width[, channels]) of 8 bits), one or a list -> `pixel_values`.

    The values are bit for bit those of `read_image` in `model.py`, but for large JPEGs, which that one decodes small.
    """

    model_input_names: ClassVar[list[str]] = ["pixel_values"]

    def __init__(
        self,
        resolution: int = 224,
        channels: int = 3,
        image_mean: list[float] | None = None,
        image_std: list[float] | None = None,
        levels: list[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.resolution, self.channels, self.levels = resolution, channels, levels
        self.image_mean = image_mean or [0.0] * channels
        self.image_std = image_std or [1.0] * channels

    def preprocess(self, images: Any, *_: Any, return_tensors: str | None = "pt", **__: Any) -> Any:
        """Returns `pixel_values`: (images, channels, resolution, resolution), float32."""
        given = images if isinstance(images, list | tuple) else [images]
        pixels = torch.stack([self.prepared(image) for image in given])
        return BatchFeature({"pixel_values": pixels}, tensor_type=return_tensors)

    def prepared(self, image: Any) -> torch.Tensor:
        """One image as the network reads it."""
        opened = image
        if not isinstance(image, Image.Image):
            array = np.asarray(image)
            opened = Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)
        return prepared(opened, self.resolution, self.channels, self.image_mean, self.image_std, self.levels)
