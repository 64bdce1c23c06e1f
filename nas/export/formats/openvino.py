"""`model.xml` and `model.bin`: the network in OpenVINO's format, converted by OpenVINO from ONNX."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Container
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from nas.errors import ExportError
from nas.export.checks import Run
from nas.export.exported_model import ExportedModel
from nas.export.folder import FILES
from nas.export.formats.format import Export, Format
from nas.export.onnx_file import first_line, write_onnx

_FILE = "model.xml"
_PLACE = ["hybrid_nas", "preprocessing"]


class OpenVino(Format):
    """Weights in float32, for any batch size.

    Its runtime information (`rt_info`) holds the text of `preprocessing.json` as `hybrid_nas/preprocessing`, and the
    classes as `model_info/labels`, where OpenVINO's own tools look for them: joined by spaces, so that spaces in them
    are underscores.
    """

    name = "openvino"
    files = {_FILE: "the network, for OpenVINO", "model.bin": "its weights"}
    packages = ("openvino", "onnx", "onnxscript")
    extra = "openvino"
    runtime = "OpenVINO"
    tolerance = 1e-4
    carries = f"the `rt_info` of `{_FILE}`"
    agrees = f"`{_FILE}`, for batches of 1 and 3,"

    def write(self, export: Export) -> None:
        """Converts `model.onnx`, which is made for that where it was not asked for."""
        with tempfile.TemporaryDirectory() as elsewhere:
            path = export.folder / FILES["onnx"]
            if not path.exists():
                path = Path(elsewhere) / path.name
                write_onnx(export.network, path, export.reference.images.shape[1:])
            self._convert(path, export)

    def _convert(self, path: Path, export: Export) -> None:
        openvino = import_module("openvino")
        try:
            model = openvino.Core().read_model(path)
            prepared = export.product.preprocessing
            if prepared is not None:
                model.set_rt_info(json.dumps(prepared.to_dict()), _PLACE)
            if export.product.class_names:
                labels = " ".join("_".join(name.split()) for name in export.product.class_names)
                model.set_rt_info(labels, ["model_info", "labels"])
            openvino.save_model(model, export.folder / _FILE, compress_to_fp16=False)
        except Exception as fault:
            raise ExportError(
                f"OpenVINO cannot convert this network: {first_line(fault)} Leave openvino out to get the rest."
            ) from fault

    def open(self, export: Export) -> Run:
        """Returns the compiled model, on the CPU in float32."""
        return _compiled(export.folder / _FILE)

    def check(self, export: Export) -> dict[str, Any]:
        """Runs it on the CPU, and reads what it says of the preparation of images."""
        prepared = export.product.preprocessing
        if prepared is not None and json.loads(_said(export.folder / _FILE)) != prepared.to_dict():
            raise ExportError(f"{_FILE} does not say how images are prepared.")
        return super().check(export)

    def usage(self, product: ExportedModel, files: Container[str]) -> str:
        """Returns a program for OpenVINO."""
        if _FILE not in files:
            return ""
        channels, size = product.architecture.input.channels, product.trained_resolution
        known = ""
        if product.preprocessing is not None:
            said = f"model.get_rt_info({json.dumps(_PLACE)}).value"
            known = f"prepared = json.loads({said})  # size, mean, std, class_names\n"
        return (
            "With OpenVINO, any batch size:\n\n```python\nimport json\n\nimport numpy\nimport openvino\n\n"
            f'model = openvino.Core().read_model("{_FILE}")\n{known}'
            'compiled = openvino.compile_model(model, "CPU")\n'
            f'images = numpy.random.rand(1, {channels}, {size}, {size}).astype("float32")  # yours, prepared so\n'
            "classes = compiled(images)[0].argmax(1)\n```"
        )


def _compiled(path: Path) -> Run:
    openvino = import_module("openvino")
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    try:
        model = openvino.Core().compile_model(path, "CPU", hints)
    except Exception as fault:
        raise ExportError(f"{path.name}: OpenVINO cannot run it: {first_line(fault)}") from fault
    # Compiled before it is called, so that a fault of the images is one of the caller.
    return lambda images: torch.from_numpy(model(images.contiguous().numpy())[0].copy())


def _said(path: Path) -> str:
    model = import_module("openvino").Core().read_model(path)
    return str(model.get_rt_info(_PLACE).value) if model.has_rt_info(_PLACE) else "null"
