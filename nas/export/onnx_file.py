"""`model.onnx`: written by torch, run by ONNX Runtime."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from nas.errors import ExportError

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_STACK = "pkg.torch.onnx.stack_trace"
"""What torch notes of each operator: lines of source with the paths of this machine, as large as small weights."""


def missing_packages() -> list[str]:
    """What the extra `onnx` would bring and is not installed."""
    return [name for name in PACKAGES if find_spec(name) is None]


def write_onnx(network: nn.Module, path: Path, shape: Sequence[int], metadata: Mapping[str, str] | None = None) -> None:
    """Writes ONNX with its weights inside: `images` (batch, *shape) to `logits`, any batch, in the network's dtype.

    Args:
        metadata: Further `metadata_props` of the model.

    Raises:
        ExportError: If torch cannot export the network.
    """
    # A batch of one or none would be taken for a constant.
    example = torch.zeros((2, *shape), dtype=next(network.parameters()).dtype)
    with quiet():
        try:
            program = torch.onnx.export(
                copy.deepcopy(network).eval(),
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=["images"],
                output_names=["logits"],
                verbose=False,
            )
            assert program is not None
            for node in program.model.graph:
                node.metadata_props.pop(_STACK, None)
            program.model.metadata_props.update(metadata or {})
            program.save(path, external_data=False)
        except Exception as fault:
            raise ExportError(
                f"torch cannot export this network to ONNX: {first_line(fault)} Leave ONNX out to get the rest."
            ) from fault


def open_onnx(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """Returns what gives the logits of images in ONNX Runtime on the CPU, on as many threads as torch has.

    Raises:
        ExportError: If it refuses the file; and what is returned, if it refuses the images.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as fault:
        raise _refused(path, fault) from fault

    def run(images: torch.Tensor) -> torch.Tensor:
        try:
            (logits,) = session.run(None, {"images": images.contiguous().numpy()})
        except Exception as fault:
            raise _refused(path, fault) from fault
        return torch.from_numpy(logits)

    return run


def first_line(fault: BaseException) -> str:
    """What an exception of another library says first, for a message of one line."""
    return str(fault).strip().split("\n", 1)[0][:200] or type(fault).__name__


def _refused(path: Path, fault: Exception) -> ExportError:
    return ExportError(f"{path.name}: ONNX Runtime cannot run it: {first_line(fault)}")


@contextmanager
def quiet() -> Iterator[None]:
    """Drops what the exporter says of itself, such as that there is no torchvision."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
