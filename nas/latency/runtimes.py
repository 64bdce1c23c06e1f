"""Runtimes: what runs a network, on which devices and in which data types, and what has to be installed for it.

Each is a class of its own; `nas.setting.RUNTIMES` has them by name. All of them run the network as `nas.fold` gives it:
branches and BatchNorms are part of the convolutions, as whoever deploys it would have them.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import torch
from torch import nn

from nas.errors import ExportError, LatencyError, OptionError
from nas.export.onnx_file import PACKAGES, write_onnx
from nas.machine import available_cores, cpu_name
from nas.networks.fold import fold
from nas.options.kinds import one_of
from nas.setting import RUNTIMES, Setting
from nas.training.compiling import compiled, reason

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
Part: TypeAlias = tuple[str, Callable[[Any], Any]]
"""A part of a network: its name, and what makes its output of the output of the part before (None for the first)."""


class Runtime(ABC):
    """What runs a network.

    Attributes:
        name: As in `nas.setting.RUNTIMES`.
        devices: Kinds of devices that it runs on.
        dtypes: Data types that it computes in.
        packages: What has to be installed beside torch, and `extra`, the extra of this package that brings it.
    """

    name: ClassVar[str]
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    dtypes: ClassVar[tuple[str, ...]] = ("float32",)
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    def check(self, setting: Setting) -> None:
        """Checks that this machine can run networks in a setting.

        Raises:
            OptionError: If packages or the device are not there, or the runtime has no such device or data type.
        """
        kind = setting.device.partition(":")[0]
        if kind not in self.devices:
            raise OptionError(f"{self.name} runs on {one_of(self.devices)} here, but got {setting}: use one of these.")
        if setting.dtype not in self.dtypes:
            raise OptionError(
                f"{self.name} computes in {one_of(self.dtypes)} here, but got {setting}: use one of these."
            )
        missing = [package for package in self.packages if find_spec(package) is None]
        if missing:
            raise OptionError(
                f"The runtime {self.name} needs {', '.join(missing)}: pip install 'hybrid-nas[{self.extra}]'."
            )
        self.check_device(setting)

    def check_device(self, setting: Setting) -> None:
        """Raises `OptionError` unless this machine has the device and as many cores as the setting has threads."""
        kind, _, index = setting.device.partition(":")
        there = {
            "cpu": 1,
            "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
            "mps": int(torch.backends.mps.is_available()),
        }[kind]
        if int(index or 0) >= there:
            raise OptionError(
                f"{setting}: torch {torch.__version__} finds {there} {kind} devices here. Use cpu, or another torch."
            )
        if setting.threads is not None and setting.threads > available_cores():
            raise OptionError(
                f"threads={setting.threads} are more than the {available_cores()} cores that this process may use: "
                f"use at most threads={available_cores()}."
            )

    @abstractmethod
    def version(self) -> str:
        """Returns what runs, with its version: "torch 2.8.0"."""

    @abstractmethod
    def prepare(self, network: nn.Module, images: torch.Tensor, setting: Setting) -> Callable[[], object]:
        """Returns what runs one inference of a network on images, and returns when it is done.

        Args:
            network: In eval mode or not; it stays as it is.
            images: (batch, channels, height, width), float32, on the CPU.
            setting: Resolved, and checked by `check`. Threads of torch are those of whoever calls.

        Raises:
            LatencyError: If the runtime cannot run the network.
        """

    def prepare_parts(self, network: nn.Module, images: torch.Tensor, setting: Setting) -> list[Part]:
        """Returns the parts of one inference, as `prepare` the whole; empty where the runtime has no parts."""
        return []


class Torch(Runtime):
    """Eager torch: channels_last, inference mode."""

    name = "torch"
    devices = ("cpu", "cuda", "mps")
    dtypes = tuple(DTYPES)

    def version(self) -> str:
        """Returns the version of torch."""
        return f"torch {torch.__version__}"

    def prepare(self, network: nn.Module, images: torch.Tensor, setting: Setting) -> Callable[[], object]:
        """Returns the folded network as it is."""
        return partial(_finished(_placed(fold(network), setting), setting), _placed(images, setting))

    def prepare_parts(self, network: nn.Module, images: torch.Tensor, setting: Setting) -> list[Part]:
        """Returns the stem, each stage and the head of a `nas.networks.network.Network`."""
        folded: Any = _placed(fold(network), setting)
        placed = _placed(images, setting)
        stages = [(f"stage {i}", stage) for i, stage in enumerate(folded.stages, start=1)]
        parts = [("stem", lambda _: folded.stem(placed)), *stages, ("head", folded.head)]
        return [(name, _finished(part, setting)) for name, part in parts]


class TorchCompile(Torch):
    """`torch.compile` with its defaults, for shapes that do not change; compiling takes from seconds to minutes."""

    name = "torch.compile"

    def version(self) -> str:
        """Returns the version of torch."""
        return f"torch {torch.__version__}, compiled"

    def prepare(self, network: nn.Module, images: torch.Tensor, setting: Setting) -> Callable[[], object]:
        """Returns the folded network, compiled as one graph."""
        placed = _placed(images, setting)
        run = _finished(compiled(_placed(fold(network), setting), fullgraph=True), setting)
        try:
            run(placed)
        except Exception as fault:
            raise _cannot_run(self, fault) from fault
        return partial(run, placed)

    def prepare_parts(self, network: nn.Module, images: torch.Tensor, setting: Setting) -> list[Part]:
        """Returns nothing: parts would be compiled apart, into other code than the whole."""
        return []


class OnnxRuntime(Runtime):
    """ONNX Runtime, on the file that `nas export` would write of the folded network."""

    name = "onnxruntime"
    devices = ("cpu", "cuda")
    dtypes = ("float32", "float16")
    packages = PACKAGES
    extra = "onnx"

    def check_device(self, setting: Setting) -> None:
        """Raises `OptionError` unless ONNX Runtime has the device."""
        super().check_device(setting)
        import onnxruntime

        if setting.device != "cpu" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise OptionError(
                f"{setting}: ONNX Runtime {onnxruntime.__version__} has no CUDA here: pip install onnxruntime-gpu."
            )

    def version(self) -> str:
        """Returns the version of ONNX Runtime."""
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}"

    def prepare(self, network: nn.Module, images: torch.Tensor, setting: Setting) -> Callable[[], object]:
        """Returns a session with its images and logits bound to memory of the device."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = setting.threads or 0
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        kind, _, index = setting.device.partition(":")
        place = (kind, int(index or 0))
        on_gpu = [("CUDAExecutionProvider", {"device_id": place[1]})] if kind == "cuda" else []
        numbers = images.to(DTYPES[setting.dtype]).numpy()
        with _onnx_file(network, images, setting) as path:
            try:
                session = onnxruntime.InferenceSession(path, options, providers=[*on_gpu, "CPUExecutionProvider"])
                binding = session.io_binding()
                binding.bind_ortvalue_input("images", onnxruntime.OrtValue.ortvalue_from_numpy(numbers, *place))
                binding.bind_output("logits", *place)
                session.run_with_iobinding(binding)
            except Exception as fault:
                raise _cannot_run(self, fault) from fault

        def infer() -> None:
            session.run_with_iobinding(binding)
            binding.synchronize_outputs()

        return infer


class OpenVino(Runtime):
    """OpenVINO on the CPU, by its latency hint, for images of one shape."""

    name = "openvino"
    dtypes = tuple(DTYPES)
    packages = ("openvino", *PACKAGES[:2])
    extra = "openvino"

    def version(self) -> str:
        """Returns the version of OpenVINO."""
        return f"openvino {import_module('openvino').__version__}"

    def prepare(self, network: nn.Module, images: torch.Tensor, setting: Setting) -> Callable[[], object]:
        """Returns a compiled model's request; in a dtype but float32 as OpenVINO converts to it."""
        hints = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": setting.threads,
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[setting.dtype],
        }
        core = import_module("openvino").Core()
        with _onnx_file(network, images, replace(setting, dtype="float32")) as path:
            try:
                model = core.read_model(path)
                model.reshape(list(images.shape))
                request = core.compile_model(model, "CPU", hints).create_infer_request()
                request.infer({"images": images.contiguous().numpy()})
            except Exception as fault:
                raise _cannot_run(self, fault) from fault
        return request.infer


def find_runtime(setting: Setting) -> Runtime:
    """Returns the runtime of a setting, where this machine has all that it needs.

    Raises:
        OptionError: If it is not there, or cannot run in this setting.
    """
    runtime: Runtime = RUNTIMES[setting.runtime]()
    runtime.check(setting)
    return runtime


def device_name(device: str) -> str:
    """Returns the device's model, for people and to tell machines apart: "NVIDIA H200", "Intel(R) Xeon(R) …"."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu_name()


def _placed(item: Any, setting: Setting) -> Any:
    """Returns a network or images on the setting's device, in its data type, channels last."""
    return item.to(device=setting.device, dtype=DTYPES[setting.dtype], memory_format=torch.channels_last)


def _finished(run: Callable[[Any], Any], setting: Setting) -> Callable[[Any], Any]:
    """Returns the same function in inference mode, which returns when the device is done."""

    def infer(x: Any) -> Any:
        with torch.inference_mode():
            made = run(x)
        if setting.device.startswith("cuda"):
            torch.cuda.synchronize(setting.device)
        elif setting.device == "mps":
            torch.mps.synchronize()
        return made

    return infer


@contextmanager
def _onnx_file(network: nn.Module, images: torch.Tensor, setting: Setting) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nas-latency-") as folder:
        path = Path(folder) / "model.onnx"
        try:
            write_onnx(fold(network).to(DTYPES[setting.dtype]), path, images.shape[1:])
        except ExportError as fault:
            raise LatencyError(f"{str(fault).partition(' Leave ')[0]} Measure it in torch.") from fault
        yield path


def _cannot_run(runtime: Runtime, fault: Exception) -> LatencyError:
    return LatencyError(f"{runtime.version()} cannot run this network: {reason(fault)}. Measure it in another runtime.")
