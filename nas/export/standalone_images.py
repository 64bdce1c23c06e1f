"""What an exported `model.py` adds for image files: it reads them as the training did and predicts their classes.

The pixels equal those of `nas.data.images.decode` bit for bit, by Pillow and torch alone. Like `nas.export.standalone`,
these functions are copied, and the exported network's values put in place of the constants.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from nas.data.images import FORMATS
from nas.export.standalone import ARCHITECTURE, TRAINED_RESOLUTION, build, load
from nas.networks.network import Network

MEAN: list[float] = []
STD: list[float] = []
CLASS_NAMES: list[str] = []
LEVELS: list[int] | None = None
SHOWN = 5
NOT_FINITE = "The network's output is not finite, so weights.safetensors is damaged. Export it again."


def read_image(path: str | Path, resolution: int = TRAINED_RESOLUTION) -> torch.Tensor:
    """An image file as in the training: (channels, resolution, resolution), float32, normalized.

    It is turned upright by its EXIF data, white shows behind transparency, and its center square is scaled.
    """
    from PIL import Image

    channels = ARCHITECTURE["input"]["channels"]
    if not MEAN or channels not in (1, 3):
        raise ValueError("it is not known how images were prepared for this network")
    if not Path(path).is_file():
        raise OSError("not a file" if Path(path).exists() else "no such file")
    mode = "L" if channels == 1 else "RGB"
    Image.init()
    with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as opened:
        # A JPEG can be decoded at a half, quarter or eighth.
        opened.draft(mode, (2 * resolution, 2 * resolution))
        opened.load()
        return prepared(opened, resolution, channels, MEAN, STD, LEVELS)


def prepared(
    image: Any, resolution: int, channels: int, mean: list[float], std: list[float], levels: list[int] | None
) -> torch.Tensor:
    """An opened image as the network reads it: (channels, resolution, resolution), float32."""
    from PIL import Image

    image = eight_bit(upright(image), "L" if channels == 1 else "RGB", levels)
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    square = image.resize((resolution, resolution), Image.Resampling.BILINEAR, box=box)
    pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8)
    return normalized(pixels.reshape(resolution, resolution, channels).permute(2, 0, 1), mean, std)


def normalized(pixels: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    """Pixels from 0 to 255 as the network reads them: (pixels / 255 - mean) / std."""
    center, scale = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (mean, std))
    return torch.addcmul((-center / scale).float(), pixels.float(), (1 / (255 * scale)).float())


def upright(image: Any) -> Any:
    """The image turned as its EXIF data say."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF data does not make the pixels unreadable
        return image


def eight_bit(image: Any, mode: str, levels: list[int] | None) -> Any:
    """The image in mode "L" or "RGB"."""
    from PIL import Image

    if image.mode.startswith("I"):
        image = from_pixels(whole_numbers_scaled(image, levels), image.size)
    elif image.mode == "F":
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.float32)
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise ValueError(f"pixels of {pixels.min():g} to {pixels.max():g} where 0 to 1.0 was expected")
        image = from_pixels((pixels * 255).round(), image.size)
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def whole_numbers_scaled(image: Any, levels: list[int] | None) -> torch.Tensor:
    """Pixels of 16 or 32 bits from 0 to 255; white is the highest number of as many bits as the highest pixel has."""
    pixels = torch.frombuffer(bytearray(image.convert("I").tobytes()), dtype=torch.int32)
    low, high = int(pixels.min()), int(pixels.max())
    own = (0, max(255, (1 << high.bit_length()) - 1)) if low >= 0 else (low, max(high, low + 1))
    black, white = levels or own
    wide = pixels.to(torch.float32 if ";16" in image.mode else torch.float64)
    return ((wide - black) * (255 / (white - black))).round().clamp(0, 255)


def from_pixels(pixels: torch.Tensor, size: tuple[int, int]) -> Any:
    """A grey image."""
    from PIL import Image

    return Image.frombytes("L", size, bytes(pixels.to(torch.uint8).tolist()))


def predict(network: Network, path: str | Path) -> list[tuple[str, float]]:
    """The classes of an image file with their probabilities, the most probable first."""
    with torch.inference_mode():
        probabilities = network(read_image(path)[None]).softmax(1)[0]
    if not probabilities.isfinite().all():
        raise ValueError(NOT_FINITE)
    names = CLASS_NAMES or [f"class {i}" for i in range(len(probabilities))]
    return [(names[i], float(probabilities[i])) for i in probabilities.argsort(descending=True).tolist()]


def main(words: list[str]) -> int:
    """Predicts the classes of image files, or tries the network where none is given; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    weights = Path(__file__).with_name("weights.safetensors")
    if words and words[0].startswith("-"):
        return failed("usage: python model.py [IMAGE …]")
    if words and not weights.exists():
        return failed(f"{weights} is not there: without trained weights there is nothing to predict with.")
    try:
        network = load(weights) if weights.exists() else build().eval()
    except Exception as fault:  # a damaged file may make anything fail
        return failed(f"{weights} is damaged, or of another network: {one_line(fault)}. Export it again.")
    return predict_all(network, words) if words else try_out(network, trained=weights.exists())


def try_out(network: Network, *, trained: bool) -> int:
    """Runs the network on random images."""
    with torch.inference_mode():
        size = (2, ARCHITECTURE["input"]["channels"], TRAINED_RESOLUTION, TRAINED_RESOLUTION)
        logits = network(torch.rand(size))
    if not logits.isfinite().all():
        return failed(NOT_FINITE)
    count = sum(parameter.numel() for parameter in network.parameters())
    said(f"{'trained' if trained else 'fresh'} weights, {count:,} parameters")
    said(f"{size} -> {tuple(logits.shape)}")
    return 0


def predict_all(network: Network, paths: list[str]) -> int:
    """Prints a line for each image file, and why one cannot be read."""
    try:
        from PIL import Image
    except ImportError:
        return failed("Reading images needs Pillow: pip install pillow")
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None  # a panorama is no attack: these files are the user's own
    status = 0
    for path in paths:
        try:
            found = predict(network, path)[:SHOWN]
        except Exception as fault:  # a broken file makes Pillow raise nearly anything
            status = failed(f"{path} cannot be read: {one_line(fault)}")
        else:
            said(f"{path}: {', '.join(f'{name} {probability:.1%}' for name, probability in found)}")
    return status


def said(text: str, stream: Any = None) -> None:
    """Prints a line."""
    (stream or sys.stdout).write("".join(c if c.isprintable() else " " for c in text) + "\n")


def failed(text: str) -> int:
    """Prints why something failed; returns the exit status."""
    said(text, sys.stderr)
    return 2


def one_line(fault: Exception) -> str:
    """An exception as a short phrase."""
    if type(fault).__name__ == "UnidentifiedImageError":
        return "not an image"
    return " ".join(str(fault).split())[:200].rstrip(".") or type(fault).__name__
