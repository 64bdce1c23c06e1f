"""`hf/`: the network as a folder of Hugging Face's transformers, with code of its own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Container
from importlib import import_module
from typing import Any

import torch
from safetensors.torch import save_file

from nas.architecture import op_names
from nas.errors import ExportError
from nas.export.alone import place, run_alone
from nas.export.checks import within
from nas.export.closure import gather
from nas.export.exported_model import ExportedModel
from nas.export.formats.format import Export, Format
from nas.export.onnx_file import first_line
from nas.export.source import module_header, module_source
from nas.networks.network import Network
from nas.networks.timm.library import wrong_torchvision
from nas.ops import OPS
from nas.run.files import atomic_write, replacing

_FOLDER = "hf"
_MODELING, _PROCESSING = "modeling_hybrid_nas", "image_processing_hybrid_nas"
_CLASS = "HybridNasForImageClassification"
_LOAD = """
from transformers import AutoImageProcessor, AutoModelForImageClassification
from PIL import Image
network = AutoModelForImageClassification.from_pretrained(asked["folder"], trust_remote_code=True)
with torch.inference_mode():
    answer["logits"] = [network(images[:1]).logits.tolist(), network(pixel_values=images).logits.tolist()]
answer["classes"] = [network.config.id2label[i] for i in range(network.config.num_labels)]
processor = AutoImageProcessor.from_pretrained(asked["folder"], trust_remote_code=True)
image = Image.frombytes("RGB", (asked["side"], asked["side"]), bytes(asked["pixels"]))
answer["pixels"] = processor(image, return_tensors="pt")["pixel_values"][0].tolist()
"""
_BARRED = ("nas", "onnx", "onnxruntime", "fvcore", "timm")


class HuggingFace(Format):
    """A folder for `AutoModelForImageClassification` and `AutoImageProcessor`, both with `trust_remote_code=True`.

    It can be pushed to a hub as it is. The tensors are those of `weights.safetensors`, each name behind `network.`.
    """

    name = "hf"
    files = {
        f"{_FOLDER}/config.json": "the architecture and the classes, for transformers",
        f"{_FOLDER}/model.safetensors": "the weights, in float32",
        f"{_FOLDER}/{_MODELING}.py": "the network as code",
        f"{_FOLDER}/preprocessor_config.json": "how images are prepared",
        f"{_FOLDER}/{_PROCESSING}.py": "that as code",
        f"{_FOLDER}/README.md": "a card for a hub",
    }
    packages = ("transformers",)
    extra = "transformers"
    says_preparation = True
    tolerance = 1e-5  # in another memory format than ours, sums are rounded otherwise
    carries = f"`{_FOLDER}/preprocessor_config.json`"
    agrees = f"The model that transformers loads from `{_FOLDER}/`, offline and in a process without hybrid-nas,"

    def check_possible(self, product: ExportedModel) -> None:
        """Checks that classes have different names, too: transformers goes from a name to its class."""
        super().check_possible(product)
        if len(set(product.class_names)) < len(product.class_names):
            raise ExportError("--format hf: two classes have the same name. Rename one, or leave hf out.")

    def write(self, export: Export) -> None:
        """Writes the folder."""
        folder, product = export.folder / _FOLDER, export.product
        folder.mkdir()
        for name, content in (("config", _config(product)), ("preprocessor_config", _preprocessor(product))):
            atomic_write(folder / f"{name}.json", json.dumps(content, indent=2) + "\n")
        atomic_write(folder / f"{_MODELING}.py", _modeling(product))
        atomic_write(folder / f"{_PROCESSING}.py", _processing(product))
        atomic_write(folder / "README.md", _readme(product))
        state = {f"network.{name}": value.contiguous() for name, value in export.network.state_dict().items()}
        with replacing(folder / "model.safetensors") as path:
            save_file(state, path, metadata={"format": "pt"})
            path.chmod((folder / "config.json").stat().st_mode & 0o777)

    def check(self, export: Export) -> dict[str, Any]:
        """Loads model and image processor in another process, which may fetch nothing."""
        product, side = export.product, 2 * export.product.trained_resolution
        pixels = torch.randint(256, (3 * side * side,), generator=torch.Generator().manual_seed(0)).tolist()
        asked = {**export.reference.asked, "folder": place(export.folder, _FOLDER), "side": side, "pixels": pixels}
        with tempfile.TemporaryDirectory() as home:
            offline = {"HF_HOME": home, "HF_MODULES_CACHE": f"{home}/modules", "HF_HUB_OFFLINE": "1"}
            answer = run_alone(f"{_FOLDER}/", _LOAD, asked, barred=_BARRED, environment=offline)
        if answer["classes"] != _names(product):
            raise ExportError(f"{_FOLDER}/: transformers takes the classes to be {answer['classes'][:5]}, …")
        self._check_preparation(product, pixels, side, torch.tensor(answer["pixels"]))
        error = export.reference.error_of_answer(answer)
        return {self.key: within(f"{_FOLDER}/", error, self.tolerance)}

    @staticmethod
    def _check_preparation(product: ExportedModel, pixels: list[int], side: int, found: torch.Tensor) -> None:
        """Checks that an image is prepared as `model.py` prepares it."""
        from PIL import Image

        from nas.export.standalone_images import prepared

        image = Image.frombytes("RGB", (side, side), bytes(pixels))
        levels = None if product.levels is None else list(product.levels)
        channels, size = product.architecture.input.channels, product.trained_resolution
        wanted = prepared(image, size, channels, list(product.mean), list(product.std), levels)
        if found.shape != wanted.shape or not torch.equal(found, wanted):
            raise ExportError(f"{_FOLDER}/: the image processor does not prepare an image as model.py does.")

    def usage(self, product: ExportedModel, files: Container[str]) -> str:
        """Returns a program that classifies a photo."""
        return f"With transformers:\n\n{_program(_FOLDER)}" if self.main in files else ""


def _program(folder: str) -> str:
    return (
        "```python\nfrom PIL import Image\n"
        "from transformers import AutoImageProcessor, AutoModelForImageClassification\n\n"
        f'processor = AutoImageProcessor.from_pretrained("{folder}", trust_remote_code=True)\n'
        f'network = AutoModelForImageClassification.from_pretrained("{folder}", trust_remote_code=True).eval()\n'
        'logits = network(**processor(Image.open("photo.jpg"), return_tensors="pt")).logits\n'
        "print(network.config.id2label[int(logits.argmax(1))])\n```"
    )


def _names(product: ExportedModel) -> list[str]:
    return list(product.class_names) or [f"LABEL_{i}" for i in range(product.architecture.num_classes)]


def _config(product: ExportedModel) -> dict[str, Any]:
    names = _names(product)
    return {
        "model_type": "hybrid_nas",
        "architectures": [_CLASS],
        "auto_map": {
            "AutoConfig": f"{_MODELING}.HybridNasConfig",
            "AutoModelForImageClassification": f"{_MODELING}.{_CLASS}",
        },
        "architecture": product.trained.to_dict(),
        "image_size": product.trained_resolution,
        "num_channels": product.architecture.input.channels,
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
        "dtype": "float32",
    }


def _preprocessor(product: ExportedModel) -> dict[str, Any]:
    return {
        "image_processor_type": "HybridNasImageProcessor",
        "auto_map": {"AutoImageProcessor": f"{_PROCESSING}.HybridNasImageProcessor"},
        "resolution": product.trained_resolution,
        "channels": product.architecture.input.channels,
        "image_mean": list(product.mean),
        "image_std": list(product.std),
        "levels": None if product.levels is None else list(product.levels),
    }


def _modeling(product: ExportedModel) -> str:
    template = _template("standalone_transformers")
    trained = product.trained
    used = [OPS[op] for op in sorted(set(op_names(trained.to_dict())))]
    roots = [Network, *used, template.HybridNasConfig, template.HybridNasForImageClassification]
    use = "needs torch and transformers,\nwhich loads it from this folder with trust_remote_code=True."
    header = module_header(product.architecture, product.trained_resolution, product.facts.title, use)
    return module_source(header, "", gather(roots, leave={}), "", what=f"{_MODELING}.py").rstrip("\n") + "\n"


def _processing(product: ExportedModel) -> str:
    template = _template("standalone_image_processor")
    use = "needs torch, Pillow and transformers,\nwhich loads it from this folder with trust_remote_code=True."
    header = module_header(product.architecture, product.trained_resolution, product.facts.title, use)
    gathered = gather([template.HybridNasImageProcessor], leave={})
    return module_source(header, "", gathered, "", what=f"{_PROCESSING}.py").rstrip("\n") + "\n"


def _template(name: str) -> Any:
    """One of the modules that are copied; they import transformers.

    Raises:
        ExportError: If that fails.
    """
    try:
        return import_module(f"nas.export.{name}")
    except (ImportError, RuntimeError) as fault:
        cause: BaseException = fault
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = f"{first_line(cause)}."
        if "torchvision::" in str(cause):
            reason = f"it needs torchvision: {wrong_torchvision(cause)}"
        raise ExportError(f"--format hf needs transformers, which cannot be imported: {reason}") from fault


def _readme(product: ExportedModel) -> str:
    head = {"license": "apache-2.0", "library_name": "transformers", "pipeline_tag": "image-classification"}
    lines = ["---", *(f"{key}: {value}" for key, value in head.items()), "---", ""]
    title = " ".join("".join(c if c.isprintable() else " " for c in product.facts.title).split())
    size = product.trained_resolution
    data = product.facts.data_licence or "The licence of the images that it was trained on is not known."
    return "\n".join(
        [
            *lines,
            f"# {title}\n",
            f"A classifier of {size}x{size} images into {product.architecture.num_classes} classes.\n",
            f"{_program('.')}\n",
            f"The code is copied from hybrid-nas, Apache-2.0. {data}",
            "",
        ]
    )
