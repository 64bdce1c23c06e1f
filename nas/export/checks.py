"""Whether the files of one exported network say the same: each is run and compared with the network."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors.torch import load_file

from nas.architecture import Architecture
from nas.costs import cost
from nas.errors import ExportError, NasError
from nas.export.alone import place, run_alone
from nas.export.counting import fvcore_macs
from nas.export.exported_model import ExportedModel
from nas.export.onnx_file import open_onnx
from nas.networks.loading import load_architecture
from nas.networks.network import Network, build

Run: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Gives the logits (N, classes) of images (N, channels, resolution, resolution), as a file has them."""

SAME = 1e-6
ONNX_SAME = 1e-4
_CODE = """
import runpy
network = runpy.run_path(asked["code"], run_name="model")["load"](asked["weights"])
with torch.inference_mode():
    answer["logits"] = network(images).tolist()
"""
BARRED = ("nas", "numpy", "safetensors", "yaml", "onnx", "onnxruntime", "fvcore", "torchvision", "timm", "PIL")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """Fixed images, and what the network makes of them; every format must make the same."""

    seed: int
    images: torch.Tensor
    logits: torch.Tensor

    @classmethod
    def of(cls, network: Network, architecture: Architecture, *, seed: int = 0, count: int = 3) -> Reference:
        """Runs the network, which must be in eval mode, float32 and on the CPU.

        Raises:
            ExportError: If its output is not finite.
        """
        size = architecture.input.resolution
        generator = torch.Generator().manual_seed(seed)
        images = torch.randn((count, architecture.input.channels, size, size), generator=generator)
        with torch.inference_mode():
            logits = network(images)
        if not logits.isfinite().all():
            raise ExportError(
                "The network gives values that are not finite, so nothing can be compared: train it again."
            )
        return cls(seed=seed, images=images, logits=logits)

    @property
    def asked(self) -> dict[str, Any]:
        """What another process needs to make the same images: their `shape` and `seed`."""
        return {"shape": list(self.images.shape), "seed": self.seed}

    def error(self, found: torch.Tensor) -> float:
        """Largest absolute difference, as a share of the largest logit."""
        if found.shape != self.logits[: len(found)].shape:
            return float("inf")
        expected = self.logits[: len(found)]
        return float((found - expected).abs().max() / expected.abs().max().clamp_min(torch.finfo(torch.float32).tiny))

    def error_of_answer(self, answer: Mapping[str, Any]) -> float:
        """The larger error of the `logits` that another process gave, of a batch of one image and one of all."""
        return max(self.error(torch.tensor(logits)) for logits in answer["logits"])

    def error_of(self, run: Run) -> float:
        """The larger error of a batch of one image and one of all."""
        with torch.inference_mode():
            return max(self.error(run(images)) for images in (self.images[:1], self.images))


def check_config(folder: Path, product: ExportedModel, reference: Reference) -> float:
    """Whether `architecture.yaml` is the architecture, and with `weights.safetensors` the network.

    Returns:
        The relative error of its output.

    Raises:
        ExportError: If it is not.
    """
    try:
        read = load_architecture(folder / "architecture.yaml")
        network = build(read.at_resolution(product.trained_resolution)).eval()
        network.load_state_dict(load_file(folder / "weights.safetensors"))
    except (NasError, RuntimeError, ValueError) as fault:
        raise ExportError(f"architecture.yaml does not rebuild the network: {_line(fault)}") from fault
    if read != product.architecture:
        raise ExportError("architecture.yaml is another architecture than the one exported.")
    with torch.inference_mode():
        error = reference.error(network(reference.images))
    return within("architecture.yaml", error, SAME)


def check_code(folder: Path, reference: Reference) -> float:
    """Whether `model.py` imports only torch and gives the network's output, run by itself in another process.

    Returns:
        The relative error of its output.

    Raises:
        ExportError: If it imports anything else, fails or gives something else.
    """
    code = folder / "model.py"
    # Pillow only inside of the functions that read image files: the process below runs without it.
    foreign = sorted(imported_packages(code.read_text()) - {"torch", "PIL"} - sys.stdlib_module_names)
    if foreign:
        raise ExportError(f"model.py would need {', '.join(foreign)}; write ops so that they import only torch.")
    asked = {
        **reference.asked,
        "code": place(folder, "model.py"),
        "weights": place(folder, "weights.safetensors"),
    }
    answer = run_alone("model.py", _CODE, asked, barred=BARRED)
    return within("model.py", reference.error(torch.tensor(answer["logits"])), SAME)


def check_onnx(folder: Path, reference: Reference) -> float:
    """Whether `model.onnx` gives the network's output for batches of one and of all images.

    Returns:
        The larger relative error of the two.

    Raises:
        ExportError: If it does not.
    """
    return within("model.onnx", reference.error_of(open_onnx(folder / "model.onnx")), ONNX_SAME)


def compare_counts(architecture: Architecture) -> dict[str, Any]:
    """Our multiply-adds beside fvcore's; they may differ for an op that one of the two does not know.

    Returns:
        `resolution`, `macs`, `macs_fvcore` and `macs_difference`.
    """
    ours = cost(architecture).macs
    theirs = fvcore_macs(architecture.to_dict())
    return {
        "resolution": architecture.input.resolution,
        "macs": ours,
        "macs_fvcore": theirs,
        "macs_difference": theirs - ours,
    }


def imported_packages(source: str) -> set[str]:
    """Every top-level package that a source imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or ".").split(".")[0] if not node.level else ".")
    return found


def within(name: str, error: float, bound: float) -> float:
    """Returns the relative error of a file's output.

    Raises:
        ExportError: If it is larger than `bound`.
    """
    # NaN fails the comparison too.
    if not error <= bound:
        raise ExportError(
            f"{name} does not give the network's output: the relative error is {error:.2g}, "
            f"at most {bound:g} is allowed."
        )
    return error


def _line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:300]
