"""`preprocessing.json`: what turns an image file into the network's input, and its output into a class."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """The preparation of images in training, which inference must repeat: that of `nas.data.images.decode`.

    At the border of the square, Pillow's filter takes in pixels beyond it. Images of a training that were no files but
    an array (.npz, IDX, digits) were cropped first and resized by torch: square ones differ from the same images as
    files by at most 1 of 255, others at the border too, and by half a pixel where an odd number of rows or columns is
    cut off.

    Attributes:
        channels: 1 for grey, 3 for color.
        resolution: Side of the network's input in pixels.
        mean, std: Per channel, of pixels in [0, 1].
        class_names: In the order of the logits.
        levels: The whole numbers that are black and white where images have more than 8 bits; None for those that each
            image has itself, by `nas.data.pixel_range.PixelRange`.
    """

    channels: int
    resolution: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    levels: tuple[int, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON, its keys in the order in which the steps are taken."""
        return {
            "format": 1,
            "channels": self.channels,
            "jpeg_draft": [2 * self.resolution, 2 * self.resolution],
            "orientation": "exif",
            "transparency": "white",
            "deep_pixels": None if self.levels is None else dict(zip(("black", "white"), self.levels, strict=True)),
            "crop": "center-square",
            "resolution": self.resolution,
            "interpolation": "bilinear",
            "antialias": True,
            "resize": "PIL.Image.Image.resize((resolution, resolution), BILINEAR, box=center square)",
            "rescale_factor": 1 / 255,
            "mean": list(self.mean),
            "std": list(self.std),
            "class_names": list(self.class_names),
        }

    def to_json(self) -> str:
        """Returns the text of `preprocessing.json`, which is also the metadata `preprocessing` of `model.onnx`."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1) + "\n"
