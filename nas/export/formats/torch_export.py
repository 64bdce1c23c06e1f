"""`model.pt2`: the network and its weights as a program of `torch.export`, which torch loads by itself."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import torch

from nas.errors import ExportError
from nas.export.alone import place, run_alone
from nas.export.checks import BARRED, Run, within
from nas.export.exported_model import ExportedModel
from nas.export.formats.format import Export, Format, side
from nas.export.onnx_file import first_line, quiet
from nas.run.files import replacing

_FILE = "model.pt2"
_LOAD = """
extra = {"preprocessing": ""}
network = torch.export.load(asked["file"], extra_files=extra).module()
with torch.inference_mode():
    answer["logits"] = [network(images[:1]).tolist(), network(images).tolist()]
answer["preprocessing"] = extra["preprocessing"]
"""


class TorchExport(Format):
    """An `ExportedProgram` for any batch size; what it carries beside the graph is the file `preprocessing` in it."""

    name = "torch-export"
    files = {_FILE: "the network and its weights as a `torch.export` program"}
    runtime = "torch.export's program"
    tolerance = 1e-5
    carries = f"the extra file `preprocessing` in `{_FILE}`"
    agrees = f"`{_FILE}`, loaded by torch alone in its own process, for batches of 1 and 3,"

    def write(self, export: Export) -> None:
        """Writes `model.pt2`."""
        images = export.reference.images[:2]  # a batch of one would be taken for a constant
        with quiet(), replacing(export.folder / _FILE) as path:
            try:
                program = torch.export.export(
                    export.network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},)
                )
                torch.export.save(program, path, extra_files=export.metadata)
            except OSError:
                raise
            except Exception as fault:
                reason = first_line(fault)
                raise ExportError(
                    f"torch.export cannot trace this network: {reason} Leave torch-export out to get the rest."
                ) from fault

    def open(self, export: Export) -> Run:
        """Returns the loaded program."""
        with quiet():
            return torch.export.load(export.folder / _FILE).module()

    def check(self, export: Export) -> dict[str, Any]:
        """Loads and runs it in another process, where only torch can be imported."""
        asked = {**export.reference.asked, "file": place(export.folder, _FILE)}
        answer = run_alone(_FILE, _LOAD, asked, barred=BARRED)
        if answer["preprocessing"] != export.metadata.get("preprocessing", ""):
            raise ExportError(f"{_FILE} does not say how images are prepared.")
        error = export.reference.error_of_answer(answer)
        return {self.key: within(_FILE, error, self.tolerance)}

    def usage(self, product: ExportedModel, files: Container[str]) -> str:
        """Returns a program that loads it."""
        if _FILE not in files:
            return ""
        channels, size = product.architecture.input.channels, product.trained_resolution
        known = ""
        if product.preprocessing is not None:
            known = 'prepared = json.loads(extra["preprocessing"])  # size, mean, std, class_names\n'
        return (
            f"With torch alone, any batch size ({side(size)}):\n\n```python\nimport json\n\nimport torch\n\n"
            'extra = {"preprocessing": ""}\n'
            f'network = torch.export.load("{_FILE}", extra_files=extra).module()\n{known}'
            f"images = torch.rand(1, {channels}, {size}, {size})  # yours, prepared as in its training\n"
            "with torch.inference_mode():\n    classes = network(images).argmax(1)\n```"
        )
