"""`model_int8.onnx`: the network in 8-bit integers, quantized after training; `int8.json`: what that costs."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import torch

from nas.data import Batches, Split
from nas.errors import ExportError
from nas.export.checks import Run
from nas.export.exported_model import ExportedModel
from nas.export.formats.format import Export, Format
from nas.export.onnx_file import PACKAGES, open_onnx, write_onnx
from nas.export.own_data import own_source
from nas.export.quantization import LayerError, decibels, layer_errors, quantize, sums_saturate
from nas.networks.fold import fold
from nas.run.files import atomic_write

_FILE, _REPORT = "model_int8.onnx", "int8.json"
CALIBRATION, MEASURED = 256, 32
"""Training images that set the ranges, and search-validation images that the error of layers is measured on."""
MOST_LOST = 0.01
"""The accuracy, as a share of the images, that int8 may lose without being cautioned about."""
_BATCH, _WORST = 16, 5
_WORDS = {"stem": "stem", "head": "head", "C": "convolution (C)", "A": "attention (A)", "M": "Mamba (M)"}


class Int8(Format):
    """Convolutions and matrix products in int8, of the network with its BatchNorms folded; any batch size.

    Its output is not the network's: how far it is off is measured on search-validation and said.
    """

    name = "int8"
    files = {_FILE: "the network in 8-bit integers, as ONNX", _REPORT: "what int8 costs, by layer"}
    packages = PACKAGES
    extra = "onnx"
    runtime = "ONNX Runtime, int8"
    carries = f"the metadata `preprocessing` of `{_FILE}`"

    def check_possible(self, product: ExportedModel) -> None:
        """Checks that the images for calibration are there, too."""
        super().check_possible(product)
        own_source(product)

    def write(self, export: Export) -> None:
        """Quantizes the network, and measures what that costs."""
        product, data, path = export.product, export.data, export.folder / _FILE
        training, validation = data.train.first(CALIBRATION), data.search_validation
        shape = export.reference.images.shape[1:]
        with tempfile.TemporaryDirectory() as elsewhere:
            source = Path(elsewhere) / "float32.onnx"
            write_onnx(fold(export.network), source, shape, export.metadata)
            quantize(source, path, _images(training, product))
            layers = layer_errors(source, path, _images(validation.first(MEASURED), product), product.trained)
        found = {
            "format": 1,
            "calibration_images": len(training),
            "weight_bits": 7 if sums_saturate() else 8,
            **_accuracy(export.network, open_onnx(path), validation, product),
            **_summary(layers),
            "layers": [{**asdict(each), "lost_db": each.lost_db} for each in layers],
        }
        atomic_write(export.folder / _REPORT, json.dumps(found, indent=1) + "\n")

    def open(self, export: Export) -> Run:
        """Returns a session of ONNX Runtime."""
        return open_onnx(export.folder / _FILE)

    def check(self, export: Export) -> dict[str, Any]:
        """Runs it for batches of one and more, and returns what was measured, as `int8`."""
        run, reference = self.open(export), export.reference
        for images in (reference.images[:1], reference.images):
            logits = run(images)
            if logits.shape != reference.logits[: len(images)].shape or not logits.isfinite().all():
                raise ExportError(f"{_FILE} gives no logits for a batch of {len(images)}. Leave int8 out.")
        found = json.loads((export.folder / _REPORT).read_text())
        return {"int8": {name: value for name, value in found.items() if name not in ("format", "layers")}}

    def usage(self, product: ExportedModel, files: Container[str]) -> str:
        """Returns how to run it."""
        return f"`{_FILE}` is used as `model.onnx` is, by its name." if _FILE in files else ""

    def caution(self, checks: Mapping[str, Any]) -> str:
        """Returns that int8 loses more than `MOST_LOST` of the accuracy, and more than chance does, if so."""
        found = checks["int8"]
        lost = found["accuracy_float32"] - found["accuracy"]
        if lost <= max(MOST_LOST, math.sqrt(found.get("changed", 0.0) / max(1, found["validation_images"]))):
            return ""  # or no more than the standard error of such a difference
        return (
            f"int8 loses {100 * lost:.1f} points of accuracy on search-validation: {found['accuracy']:.2%} instead of "
            f"{found['accuracy_float32']:.2%} on {found['validation_images']:,} images. Use the float32 network where "
            "that matters."
        )

    def section(self, checks: Mapping[str, Any]) -> str:
        """Returns accuracy and the error by layer."""
        found = checks["int8"]
        lines = [
            "## int8\n",
            f"`{_FILE}` was quantized after training, by ONNX Runtime: convolutions and matrix products have int8 "
            "weights (a scale per output channel) and uint8 activations, whose ranges are those of "
            f"{found['calibration_images']:,} training images; all else stays in float32.\n",
            f"**{self.caution(checks)}**\n" if self.caution(checks) else "",
            f"Accuracy on search-validation ({found['validation_images']:,} images): {found['accuracy_float32']:.2%} "
            f"in float32, {found['accuracy']:.2%} in int8 (standard error of the difference "
            f"{found['difference_error']:.2%}); {found['changed']:.2%} of the images get another class. "
            f"{_saturation(found)}\n",
            "Signal-to-quantization-noise ratio of what layers give, against the float32 network (6 dB are one bit):\n",
            "| layers | count | median | lowest | lost from input to output, median |",
            "|---|---:|---:|---:|---:|",
            *(
                f"| {row['layers']} | {row['count']} | {row['median_db']:.1f} dB | {row['lowest_db']:.1f} dB "
                f"| {row['lost_db']:.1f} dB |"
                for row in found["parts"]
            ),
            f"| logits | 1 | {found['logits_db']:.1f} dB | | |\n",
            f"The layers that lose most (all are in `{_REPORT}`):\n",
            "| module | operator | in | out |",
            "|---|---|---:|---:|",
            *(
                f"| `{row['module'] or '?'}`{', a bridge' if row['bridge'] else ''} | {row['op']} "
                f"| {row['input_db']:.1f} dB | {row['output_db']:.1f} dB |"
                for row in found["worst"]
            ),
        ]
        return "\n".join(line for line in lines if line)


def _saturation(found: Mapping[str, Any]) -> str:
    """What is to be known of sums of 8-bit products, which saturate on x86 processors without VNNI."""
    if found.get("weight_bits", 8) == 7:
        return (
            "Weights have 7 bits, since the machine that exported them has no VNNI and sums of 8 bits saturate there."
        )
    return "On x86 processors without VNNI these sums saturate: for one, export it there, which gives weights 7 bits."


def _images(split: Split, product: ExportedModel) -> Iterator[torch.Tensor]:
    """Batches of images, normalized as in training."""
    batches = Batches(split, batch_size=_BATCH, mean=product.mean, std=product.std)
    return (images for images, _ in batches)


def _accuracy(network: Run, quantized: Run, split: Split, product: ExportedModel) -> dict[str, Any]:
    """What both networks make of the same images."""
    with torch.inference_mode():
        both = [(network(images), quantized(images)) for images in _images(split, product)]
    exact, found = (torch.cat(logits) for logits in zip(*both, strict=True))
    right, still = exact.argmax(1) == split.labels, found.argmax(1) == split.labels
    difference = still.double() - right.double()
    return {
        "validation_images": len(split),
        "accuracy": still.double().mean().item(),
        "accuracy_float32": right.double().mean().item(),
        "difference_error": math.sqrt(difference.var(correction=0).item() / len(split)),
        "changed": (exact.argmax(1) != found.argmax(1)).double().mean().item(),
        "logits_db": decibels(exact.double().square().sum().item(), (exact - found).double().square().sum().item()),
    }


def _summary(layers: Sequence[LayerError]) -> dict[str, Any]:
    """The errors by part of the network, bridges apart, and the layers that lose most."""
    groups: dict[str, list[LayerError]] = {}
    for each in layers:
        name = f"bridges to {_WORDS.get(each.part, each.part)}" if each.bridge else _WORDS.get(each.part, each.part)
        groups.setdefault(name or "other", []).append(each)
    parts = [
        {
            "layers": name,
            "count": len(group),
            "median_db": median(each.output_db for each in group),
            "lowest_db": min(each.output_db for each in group),
            "lost_db": median(each.lost_db for each in group),
        }
        for name, group in groups.items()
    ]
    worst = sorted(layers, key=lambda each: -each.lost_db)[:_WORST]
    return {"parts": parts, "worst": [asdict(each) for each in worst]}
