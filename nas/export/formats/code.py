"""`model.py`: the network as plain torch code."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from nas.costs.image_sizes import network_misfit
from nas.export.checks import Run, check_code
from nas.export.exported_model import ExportedModel
from nas.export.folder import FILES
from nas.export.formats.format import Export, Format, side
from nas.export.source import standalone_source
from nas.run.files import atomic_write


class Code(Format):
    """A module that needs only torch, and Pillow to read images."""

    name = "code"
    files = {FILES["code"]: "the network as code, for torch"}
    runtime = "torch, eager"
    agrees = "`model.py`, alone in its own process with only torch,"

    def write(self, export: Export) -> None:
        """Writes `model.py`."""
        product = export.product
        source = standalone_source(
            product.architecture,
            trained_resolution=product.trained_resolution,
            title=product.facts.title,
            mean=product.mean,
            std=product.std,
            class_names=product.class_names,
            levels=product.levels,
        )
        atomic_write(export.folder / FILES["code"], source)

    def open(self, export: Export) -> Run:
        """Returns the network, of which `model.py` has the modules."""
        return export.network

    def check(self, export: Export) -> dict[str, Any]:
        """Runs it in another process, where only torch can be imported."""
        return {self.key: check_code(export.folder, export.reference)}

    def usage(self, product: ExportedModel, files: Container[str]) -> str:
        """Returns a program that loads the network, and reads an image where it is known how."""
        if FILES["code"] not in files or FILES["weights"] not in files:
            return ""
        return _image_file(product) if product.preprocessing is not None else _random_image(product)


def _image_file(product: ExportedModel) -> str:
    double = _at_double(product)
    named = "model.CLASS_NAMES[index]" if product.class_names else "index"
    return (
        "With torch and Pillow, `python model.py photo.jpg` prints the most probable classes. The same from Python:\n\n"
        "```python\nimport torch\nimport model\n\n"
        f'network = model.load("weights.safetensors"){double}\n'
        f'image = model.read_image("photo.jpg"){double}\n'
        "with torch.inference_mode():\n    index = int(network(image[None]).argmax(1))\n"
        f"print({named})\n```"
    )


def _random_image(product: ExportedModel) -> str:
    channels, size = product.architecture.input.channels, product.trained_resolution
    return (
        f"With torch and nothing else:\n\n```python\nimport torch\nimport model\n\n"
        f'network = model.load("weights.safetensors"){_at_double(product)}\n'
        f"images = torch.rand(1, {channels}, {size}, {size})  # yours, prepared as in its training\n"
        f"with torch.inference_mode():\n    classes = network(images).argmax(1)\n```"
    )


def _at_double(product: ExportedModel) -> str:
    """A comment on how to run it on images of twice the side; "" where its windows do not divide maps of those."""
    double = 2 * product.trained_resolution
    if network_misfit(product.architecture.at_resolution(double)) is not None:
        return ""
    return f"  # at {side(double)}: resolution={double}"
