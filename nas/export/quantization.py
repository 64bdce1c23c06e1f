"""Post-training quantization to 8-bit integers by ONNX Runtime, and how much of the signal each layer keeps.

The signal-to-quantization-noise ratio (SQNR) of a tensor is that of its energy in the float32 network to the energy of
what the int8 network computes instead minus it, in decibels: every 6 dB are one bit.
"""

from __future__ import annotations

import ast
import math
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas.architecture import Architecture
from nas.costs.profiling import layer_letter
from nas.errors import ExportError
from nas.export.onnx_file import first_line, quiet

OPS = ("Conv", "Gemm", "MatMul")
"""The ONNX operators that are quantized: all multiply-adds. What is between them stays in float32."""
_SCOPES = "pkg.torch.onnx.name_scopes"
_PARTS = ("stem", "stages.", "head")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerError:
    """One quantized operator.

    Attributes:
        module: Its path in the network; "" where the conversion to ONNX lost it.
        op: Its ONNX operator.
        part: "stem", "C", "A", … (the letter of its stage) or "head"; "" where that is not known.
        bridge: Whether it is in a layer whose letter is not that of the layer before, or in the transition to it.
        input_db, output_db: SQNR of what it reads (the worse of two inputs) and gives; the difference is what it loses.
    """

    module: str
    op: str
    part: str
    bridge: bool
    input_db: float
    output_db: float

    @property
    def lost_db(self) -> float:
        """How much the SQNR falls from input to output; negative where it rises."""
        return self.input_db - self.output_db


def quantize(source: Path, target: Path, batches: Iterable[torch.Tensor]) -> None:
    """Writes a quantized ONNX model: per-channel int8 weights, uint8 activations, as QuantizeLinear/DequantizeLinear.

    Weights have 7 bits where this machine's sums of products of 8 bits saturate (`sums_saturate`).

    Args:
        source: A model in float32, its BatchNorms folded.
        batches: Images, whose smallest and largest activations set the ranges.

    Raises:
        ExportError: If ONNX Runtime cannot quantize it.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(batches)

        def get_next(self) -> dict[str, Any] | None:  # type: ignore[override]
            images = next(self.left, None)
            return None if images is None else {"images": images.contiguous().numpy()}

    prepared = source.with_name("prepared.onnx")
    with quiet():
        try:
            quant_pre_process(str(source), str(prepared), skip_optimization=True, skip_symbolic_shape=True)
            quantize_static(
                str(prepared),
                str(target),
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(OPS),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                reduce_range=sums_saturate(),
            )
            _strip(target)
        except Exception as fault:
            raise ExportError(
                f"ONNX Runtime cannot quantize this network: {first_line(fault)} Leave int8 out to get the rest."
            ) from fault


def sums_saturate() -> bool:
    """Returns whether this machine's products of uint8 and int8 are summed in pairs in 16 bits: x86 without VNNI.

    There weights of 8 bits overflow, and those of 7 do not; other machines compute those of 7 bits as well.
    """
    return platform.machine().lower() in ("x86_64", "amd64") and not torch.cpu._is_vnni_supported()


def _strip(path: Path) -> None:
    """Drops what the conversion noted of each operator and tensor, several times as large as the weights in int8."""
    import onnx

    model = onnx.load(path)
    del model.graph.value_info[:], model.graph.metadata_props[:]
    for each in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        del each.metadata_props[:]
        each.doc_string = ""
    onnx.save(model, path)


def layer_errors(
    source: Path, quantized: Path, batches: Iterable[torch.Tensor], architecture: Architecture
) -> list[LayerError]:
    """Returns the SQNR at every quantized operator, in the order of the graph.

    Args:
        source: The model in float32 that `quantized` was made from.
        architecture: Whose network it is.
    """
    import onnx

    graph, produced = onnx.load(source).graph, _tensors(quantized)
    constants = {each.name for each in graph.initializer}
    nodes = [node for node in graph.node if node.op_type in OPS and node.output[0] in produced]
    pairs: dict[str, str] = {}
    for node in nodes:
        pairs[node.output[0]] = node.output[0]
        for name in _read(node, constants):
            # What is rounded where it is read has a name of its own.
            rounded = f"{name}_DequantizeLinear_Output"
            pairs.setdefault(name, rounded if rounded in produced else name)
    pairs = {name: theirs for name, theirs in pairs.items() if theirs in produced}
    ratios = _ratios(source, quantized, pairs, batches)
    letters = _letters(architecture)
    found = []
    for node in nodes:
        inputs = [ratios[name] for name in _read(node, constants) if name in ratios]
        if not inputs:
            continue
        module = _module(node)
        part, bridge = _part(module, letters)
        found.append(
            LayerError(
                module=module,
                op=node.op_type,
                part=part,
                bridge=bridge,
                input_db=min(inputs),
                output_db=ratios[node.output[0]],
            )
        )
    return found


def decibels(signal: float, noise: float) -> float:
    """Returns the ratio of two energies in dB, at most 200 where there is no noise."""
    return 10 * math.log10(max(signal, 1e-30) / max(noise, 1e-20 * signal, 1e-30))


def _read(node: Any, constants: set[str]) -> list[str]:
    """The activations that an operator multiplies."""
    return [name for name in node.input[:2] if name not in constants]


def _tensors(path: Path) -> set[str]:
    """The names of a model's input and of all that its operators give."""
    import onnx

    graph = onnx.load(path).graph
    return {each.name for each in graph.input} | {name for node in graph.node for name in node.output}


def _ratios(source: Path, quantized: Path, pairs: dict[str, str], batches: Iterable[torch.Tensor]) -> dict[str, float]:
    """The SQNR of tensors by their names in the float32 model; `pairs` has their names in the int8 model."""
    first, second = _opened(source, pairs.keys()), _opened(quantized, pairs.values())
    signal, noise = dict.fromkeys(pairs, 0.0), dict.fromkeys(pairs, 0.0)
    for images in batches:
        given = {"images": images.contiguous().numpy()}
        exact = _outputs(first, list(pairs), given)
        for name, ours, theirs in zip(pairs, exact, _outputs(second, list(pairs.values()), given), strict=True):
            signal[name] += float((ours.astype("float64") ** 2).sum())
            noise[name] += float(((ours.astype("float64") - theirs) ** 2).sum())
    return {name: decibels(signal[name], noise[name]) for name in pairs}


def _outputs(session: Any, names: Sequence[str], given: dict[str, Any]) -> Iterator[Any]:
    """The values of tensors, of which the images themselves are one."""
    asked = [name for name in names if name not in given]
    values = dict(zip(asked, session.run(asked, given), strict=True)) | given
    return (values[name] for name in names)


def _opened(path: Path, names: Iterable[str]) -> Any:
    """A session of a model that gives some of its inner tensors, too."""
    import onnx
    import onnxruntime

    model = onnx.load(path)
    given = {each.name for each in (*model.graph.output, *model.graph.input)}
    for name in dict.fromkeys(names):
        if name not in given:
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _module(node: Any) -> str:
    """The path of the module that an operator comes from."""
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            names = [name for name in ast.literal_eval(entry.value) if str(name).startswith(_PARTS)]
            return str(names[-1]) if names else ""
    return ""


def _letters(architecture: Architecture) -> list[list[str]]:
    """The letters of the layers of each stage."""
    return [[layer_letter(layer) for layer in stage.layers] for stage in architecture.stages]


def _part(module: str, letters: Sequence[Sequence[str]]) -> tuple[str, bool]:
    """The part of the network that a module is in, and whether it is a bridge."""
    words = module.split(".")
    if words[0] != "stages":
        return words[0], False
    stage = int(words[1])
    layer = int(words[3]) if words[2] == "layers" else 0
    before = [letter for each in letters[:stage] for letter in each] + list(letters[stage][:layer])
    letter = letters[stage][layer] if letters[stage] else ""
    return letter, bool(before) and before[-1] != letter
