"""`model.onnx`: the network for ONNX Runtime and whatever else reads ONNX."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from nas.export.checks import Run, check_onnx
from nas.export.exported_model import ExportedModel
from nas.export.folder import FILES
from nas.export.formats.format import Export, Format
from nas.export.onnx_file import PACKAGES, open_onnx, write_onnx
from nas.run.files import replacing


class Onnx(Format):
    """One file with its weights inside, for any batch size."""

    name = "onnx"
    files = {FILES["onnx"]: "the network and its weights, as ONNX"}
    packages = PACKAGES
    extra = "onnx"
    carries = "the metadata `preprocessing` of `model.onnx`"
    runtime = "ONNX Runtime"
    agrees = "`model.onnx`, for batches of 1 and 3,"

    def write(self, export: Export) -> None:
        """Writes `model.onnx`."""
        with replacing(export.folder / FILES["onnx"]) as path:
            write_onnx(export.network, path, export.reference.images.shape[1:], export.metadata)

    def open(self, export: Export) -> Run:
        """Returns a session of ONNX Runtime."""
        return open_onnx(export.folder / FILES["onnx"])

    def check(self, export: Export) -> dict[str, Any]:
        """Runs it in ONNX Runtime."""
        return {self.key: check_onnx(export.folder, export.reference)}

    def usage(self, product: ExportedModel, files: Container[str]) -> str:
        """Returns a program for ONNX Runtime that reads an image where it is known how."""
        if FILES["onnx"] not in files:
            return ""
        return _image_file(product) if product.preprocessing is not None else _random_image(product)


def _image_file(product: ExportedModel) -> str:
    grey = product.architecture.input.channels == 1
    mode, axes = ("L", "[None, None]") if grey else ("RGB", ".transpose(2, 0, 1)[None]")
    vector = "" if grey else "[:, None, None]"
    named = 'prepared["class_names"][index]' if product.class_names else "index"
    return (
        "With ONNX Runtime, any batch size (images of 8 bits):\n\n```python\nimport json\n\n"
        "import numpy\nimport onnxruntime\nfrom PIL import Image, ImageOps\n\n"
        'session = onnxruntime.InferenceSession("model.onnx")\n'
        'prepared = json.loads(session.get_modelmeta().custom_metadata_map["preprocessing"])\n'
        'size, mean, std = (numpy.array(prepared[name]) for name in ("resolution", "mean", "std"))\n'
        'with Image.open("photo.jpg") as file:\n'
        f'    file.draft("{mode}", (2 * size, 2 * size))  # as in training: large JPEGs are decoded small\n'
        '    image = ImageOps.exif_transpose(file).convert("RGBA")\n'
        f'image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("{mode}")\n'
        "image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)  # its center square\n"
        f"pixels = numpy.asarray(image){axes} / 255\n"
        f'images = ((pixels - mean{vector}) / std{vector}).astype("float32")\n'
        'index = int(session.run(None, {"images": images})[0].argmax(1)[0])\n'
        f"print({named})\n```"
    )


def _random_image(product: ExportedModel) -> str:
    channels, size = product.architecture.input.channels, product.trained_resolution
    return (
        f"With ONNX Runtime, any batch size:\n\n```python\nimport numpy\nimport onnxruntime\n\n"
        f'session = onnxruntime.InferenceSession("model.onnx")\n'
        f'images = numpy.random.rand(1, {channels}, {size}, {size}).astype("float32")\n'
        f'classes = session.run(None, {{"images": images}})[0].argmax(1)\n```'
    )
