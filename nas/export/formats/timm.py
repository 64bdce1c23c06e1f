"""`timm_model.py`: the network as a model that timm creates by name, with its weights."""

from __future__ import annotations

from collections.abc import Container
from importlib import import_module
from typing import Any

import torch

from nas.architecture import op_names
from nas.errors import ExportError
from nas.export.alone import place, run_alone
from nas.export.checks import within
from nas.export.closure import Binding, gather
from nas.export.exported_model import ExportedModel
from nas.export.folder import FILES
from nas.export.formats.format import Export, Format
from nas.export.source import assigned, module_header, module_source
from nas.networks.timm.library import timm_module
from nas.networks.timm.timm_model import TimmModel
from nas.networks.timm.to_timm import default_cfg
from nas.ops import OPS
from nas.run.files import atomic_write

_FILE = "timm_model.py"
_TEMPLATE = "nas.networks.timm.standalone"
_REGISTERED = '''

default_cfgs = {{NAME: {{"file": str(Path(__file__).with_name("{weights}")), **DEFAULT_CFG}}}}


@register_model
def {name}(pretrained: bool = False, **options: Any) -> nn.Module:
    """The network by its name at timm."""
    return created(pretrained, **options)
'''
_CREATE = """
sys.path.insert(0, asked["folder"])
import timm
import timm_model
network = timm.create_model(asked["name"], pretrained=True).eval()
with torch.inference_mode():
    answer["logits"] = [network(images[:1]).tolist(), network(images).tolist()]
prepared = timm.data.resolve_model_data_config(network)
answer["prepared"] = {name: list(prepared[name]) for name in ("input_size", "mean", "std")}
answer["prepared"]["label_names"] = list(network.pretrained_cfg.get("label_names") or ())
"""
_BARRED = ("nas", "yaml", "onnx", "onnxruntime", "fvcore")


class Timm(Format):
    """A module that registers the network when it is imported; it needs timm and nothing of this package."""

    name = "timm"
    files = {_FILE: "the network as code, for timm"}
    packages = ("timm",)
    extra = "timm"
    with_formats = ("weights",)
    says_preparation = True
    tolerance = 1e-5  # in another memory format than ours, sums are rounded otherwise
    carries = f"the `pretrained_cfg` in `{_FILE}`"
    agrees = f"The model that timm creates of `{_FILE}`, in a process without hybrid-nas,"

    def write(self, export: Export) -> None:
        """Writes `timm_model.py`."""
        atomic_write(export.folder / _FILE, timm_source(export.product))

    def check(self, export: Export) -> dict[str, Any]:
        """Creates the model in another process; timm must know how images are prepared, too."""
        product = export.product
        asked = {**export.reference.asked, "folder": place(export.folder, "."), "name": timm_name(product)}
        answer = run_alone(_FILE, _CREATE, asked, barred=_BARRED)
        wanted = {
            "input_size": list(export.reference.images.shape[1:]),
            "mean": list(product.mean),
            "std": list(product.std),
            "label_names": list(product.class_names),
        }
        for name, value in wanted.items():
            if answer["prepared"][name] != value:
                raise ExportError(f"{_FILE}: timm takes {name} to be {answer['prepared'][name]}, not {value}.")
        error = export.reference.error_of_answer(answer)
        return {self.key: within(_FILE, error, self.tolerance)}

    def usage(self, product: ExportedModel, files: Container[str]) -> str:
        """Returns a program that creates the model and its transform."""
        if _FILE not in files:
            return ""
        return (
            "With timm:\n\n```python\nimport timm\n\nimport timm_model  # registers the network\n\n"
            f'network = timm.create_model("{timm_name(product)}", pretrained=True).eval()\n'
            "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))\n```"
        )


def timm_name(product: ExportedModel) -> str:
    """Returns the network's name at timm."""
    return f"nas_{product.architecture.digest}"


def timm_source(product: ExportedModel) -> str:
    """Returns the source of `timm_model.py`.

    Raises:
        ExportError: If the source of an op cannot be copied.
        OptionError: If timm cannot be imported.
    """
    trained, name = product.trained, timm_name(product)
    timm_module("timm.models", purpose="--format timm")
    template = import_module(_TEMPLATE)
    used = [OPS[op] for op in sorted(set(op_names(trained.to_dict())))]
    constants = {"NAME": name, "ARCHITECTURE": trained.to_dict()}
    gathered = gather([TimmModel, *used, template.created], leave=dict.fromkeys(constants, _TEMPLATE))
    further = [Binding("pathlib", "Path", "Path"), Binding("timm.models", "register_model", "register_model")]
    with torch.device("meta"):
        model = TimmModel(trained.to_dict())
    found = {"mean": product.mean, "std": product.std, "class_names": product.class_names}
    cfg = default_cfg(model, trained, found)
    del cfg["file"]
    header = module_header(
        product.architecture,
        product.trained_resolution,
        product.facts.title,
        f"needs torch and timm.\n`import timm_model` and `timm.create_model({name!r}, pretrained=True)`;\n"
        f"the weights are read from {FILES['weights']} beside this file.",
    )
    source = module_source(
        header,
        assigned({**constants, "DEFAULT_CFG": cfg}),
        gathered._replace(imports=[*gathered.imports, *(each for each in further if each not in gathered.imports)]),
        "",
        what=_FILE,
    )
    return source.rstrip("\n") + "\n" + _REGISTERED.format(name=name, weights=FILES["weights"])
