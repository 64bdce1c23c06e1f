"""Whether the files of one exported network say the same: each is run and compared with the network."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from nas.architecture import Architecture
from nas.costs import cost
from nas.errors import ExportError, NasError
from nas.export.counting import fvcore_macs
from nas.export.exported_model import ExportedModel
from nas.export.onnx_file import run_onnx
from nas.networks.loading import load_architecture
from nas.networks.network import Network, build

SAME = 1e-6
ONNX_SAME = 1e-4
SECONDS = 600
# What runs in the other process: torch first, since it looks for numpy by itself, then all else is barred.
PROBE = """
import json, runpy, sys
import torch
asked = json.loads(sys.stdin.read())
for name in asked["barred"]:
    sys.modules[name] = None
torch.set_num_threads(asked["threads"])
model = runpy.run_path(asked["code"], run_name="model")
network = model["load"](asked["weights"])
images = torch.randn(asked["shape"], generator=torch.Generator().manual_seed(asked["seed"]))
with torch.inference_mode():
    print(json.dumps(network(images).tolist()))
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

    def error(self, found: torch.Tensor) -> float:
        """Largest absolute difference, as a share of the largest logit."""
        if found.shape != self.logits[: len(found)].shape:
            return float("inf")
        expected = self.logits[: len(found)]
        return float((found - expected).abs().max() / expected.abs().max().clamp_min(torch.finfo(torch.float32).tiny))


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
    return _within("architecture.yaml", error, SAME)


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
        "barred": BARRED,
        "threads": torch.get_num_threads(),
        "code": str(code.resolve()),
        "weights": str((folder / "weights.safetensors").resolve()),
        "shape": list(reference.images.shape),
        "seed": reference.seed,
    }
    with tempfile.TemporaryDirectory() as elsewhere:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-c", PROBE],
                input=json.dumps(asked),
                cwd=elsewhere,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ExportError(f"model.py gave no output within {SECONDS} s.") from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise ExportError(f"model.py does not run by itself: {last[0][:300]}")
    return _within("model.py", reference.error(torch.tensor(json.loads(done.stdout))), SAME)


def check_onnx(folder: Path, reference: Reference) -> float:
    """Whether `model.onnx` gives the network's output for batches of one and of all images.

    Returns:
        The larger relative error of the two.

    Raises:
        ExportError: If it does not.
    """
    batches = [reference.images[:1], reference.images]
    errors = [reference.error(run_onnx(folder / "model.onnx", images)) for images in batches]
    return _within("model.onnx", max(errors), ONNX_SAME)


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


def _within(name: str, error: float, bound: float) -> float:
    # NaN fails the comparison too.
    if not error <= bound:
        raise ExportError(
            f"{name} does not give the network's output: the relative error is {error:.2g}, "
            f"at most {bound:g} is allowed."
        )
    return error


def _line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:300]
