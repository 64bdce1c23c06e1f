"""The formats that `nas export` can write, by name; each is one class in a file of `nas/export/formats/`."""

from __future__ import annotations

from typing import Any

from nas.errors import OptionError
from nas.registry import PlugIns

EXPORT_FORMATS: PlugIns[Any] = PlugIns(
    "format",
    OptionError,
    {
        "config": "nas.export.formats.config:Config",
        "code": "nas.export.formats.code:Code",
        "weights": "nas.export.formats.weights:Weights",
        "onnx": "nas.export.formats.onnx:Onnx",
        "torch-export": "nas.export.formats.torch_export:TorchExport",
        "openvino": "nas.export.formats.openvino:OpenVino",
        "timm": "nas.export.formats.timm:Timm",
        "hf": "nas.export.formats.hugging_face:HuggingFace",
        "int8": "nas.export.formats.int8:Int8",
    },
)
"""Each a class `nas.export.formats.format.Format`, in the order in which they are written; `add` adds one."""

DEFAULT_FORMATS = ("config", "code", "weights", "onnx")
"""Those of a winner, and of `nas export` without `--format`: all of them that this machine can write."""
