"""Settings: what a latency is true for, and its canonical spelling.

A setting is a device, a runtime, CPU threads, a batch size and a data type. Two settings never share a figure. Texts
begin with the device where the runtime is torch, else with the runtime: ``cpu``, ``cuda:1``,
``cuda:batch=32,dtype=float16``, ``onnxruntime:threads=2``, ``torch.compile:device=cuda``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from nas.errors import OptionError
from nas.machine import available_cores
from nas.registry import PlugIns, closest, unknown

RUNTIMES: PlugIns[Any] = PlugIns(
    "runtime",
    OptionError,
    {
        "torch": "nas.latency.runtimes:Torch",
        "torch.compile": "nas.latency.runtimes:TorchCompile",
        "onnxruntime": "nas.latency.runtimes:OnnxRuntime",
        "openvino": "nas.latency.runtimes:OpenVino",
    },
)
"""What runs networks, each a class `nas.latency.runtimes.Runtime`, by name; `RUNTIMES.add(name, …)` adds one."""

DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}
"""The data types of a setting, and the bytes of one number."""

DEFAULT_RUNTIME = "torch"
MOST_THREADS, LARGEST_BATCH = 1024, 65_536
_DEVICE = re.compile(r"cpu|mps|cuda(?::([0-9]{1,3}))?", re.ASCII)
_HEAD = re.compile(r"(cuda:[0-9]+|[^:=]*)(?::(.*))?", re.ASCII | re.DOTALL)
_KEYS = ("device", "threads", "batch", "dtype")
_EXAMPLES = "such as cpu:threads=2, cuda:batch=32 or onnxruntime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a latency holds for: device, runtime, CPU threads, batch size and data type.

    Args:
        device: "cpu", "cuda", "cuda:N" or "mps"; "cuda:0" is "cuda".
        runtime: One of `RUNTIMES`.
        threads: CPU threads; None for one per core that the process may use. None on other devices.
        batch: Images of one inference; the latency is that of all of them together.
        dtype: Of weights and images, one of `DTYPE_BYTES`.

    Raises:
        OptionError: If one of these means nothing. Whether this machine has the device and the runtime is found
            out where they are used.
    """

    device: str = "cpu"
    runtime: str = DEFAULT_RUNTIME
    threads: int | None = None
    batch: int = 1
    dtype: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", _canonical_device(self.device))
        if self.runtime not in RUNTIMES:
            raise OptionError(unknown("runtime", self.runtime, RUNTIMES))
        if self.threads is not None:
            _check_whole("threads", self.threads, MOST_THREADS, 2)
            if self.device != "cpu":
                raise OptionError(
                    f"threads are those of a CPU, but got threads={self.threads} for {self.device}: leave them out."
                )
        _check_whole("batch", self.batch, LARGEST_BATCH, 16)
        if self.dtype not in DTYPE_BYTES:
            raise OptionError(f"{unknown('dtype', self.dtype, DTYPE_BYTES)} Give one, as cpu:dtype=bfloat16.")

    @classmethod
    def parse(cls, text: str) -> Setting:
        """Reads ``cpu``, ``cuda:1``, ``cuda:batch=32,dtype=float16`` or ``onnxruntime:threads=2``.

        Raises:
            OptionError: If `text` is no setting: the rule, the value and what would work, in one line.
        """
        whole = "".join(text.split())
        if "@" in whole:
            raise OptionError(f"A setting has one device or runtime, but got {_shown(whole)}: give one, {_EXAMPLES}.")
        matched = _HEAD.fullmatch(whole)
        head, tail = (matched[1], matched[2]) if matched else (whole, None)
        values = {} if tail is None else parse_values(tail)
        if head in RUNTIMES:
            values["runtime"] = head
        elif "device" in values:
            raise OptionError(f"{_shown(whole)} names a device twice: leave out device={values['device']}.")
        else:
            values["device"] = _canonical_device(head)
        return cls(**values)

    def resolved(self) -> Setting:
        """Returns the same setting with the CPU threads of this process in the place of None."""
        return replace(self, threads=available_cores()) if self.device == "cpu" and self.threads is None else self

    def __str__(self) -> str:
        """The canonical text: `Setting.parse(str(setting)) == setting`."""
        head = self.device if self.runtime == DEFAULT_RUNTIME else self.runtime
        default = Setting()
        values = [
            f"{key}={getattr(self, key)}"
            for key in _KEYS
            if getattr(self, key) != getattr(default, key) and not (key == "device" and head == self.device)
        ]
        return f"{head}:{','.join(values)}" if values else head


def parse_values(text: str) -> dict[str, Any]:
    """Reads ``threads=2,batch=32`` as keyword arguments of `Setting`.

    Raises:
        OptionError: If a key is unknown or given twice, or a number is none.
    """
    values: dict[str, Any] = {}
    for word in text.split(","):
        key, equals, value = word.partition("=")
        if key not in _KEYS:
            near = closest(key, _KEYS)
            hint = f"did you mean {near}=…?" if near else f"use {', '.join(_KEYS[:-1])} or {_KEYS[-1]}, as threads=2."
            raise OptionError(f"Unknown key {_shown(key)} of a setting: {hint}")
        if not equals or not value:
            raise OptionError(f"{key} of a setting needs a value: write {key}={_example(key)}.")
        if key in values:
            raise OptionError(f"{key} of a setting is given twice, the second as {_shown(value)}: leave one out.")
        if key in ("threads", "batch"):
            values[key] = int(value) if re.fullmatch(r"[+-]?[0-9]{1,20}", value, re.ASCII) else value
        else:
            values[key] = value
    return values


def _canonical_device(name: object) -> str:
    matched = _DEVICE.fullmatch(name) if isinstance(name, str) else None
    if matched is None:
        near = closest(str(name), [*RUNTIMES, "cpu", "cuda", "mps"])
        hint = f"did you mean {near}? " if near else ""
        raise OptionError(
            f"Unknown device {_shown(name)}: {hint}use cpu, cuda, cuda:1 or mps, or a runtime: {', '.join(RUNTIMES)}."
        )
    if matched[1] is None:
        return matched[0]
    return f"cuda:{int(matched[1])}" if int(matched[1]) else "cuda"


def _check_whole(key: str, value: object, most: int, example: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise OptionError(
            f"{key} of a setting must be a whole number from 1 to {most}, but got {_shown(value)}: "
            f"use one such as {key}={example}."
        )


def _example(key: str) -> str:
    return {"device": "cuda", "dtype": "float16", "threads": "2", "batch": "16"}[key]


def _shown(value: object) -> str:
    """Returns the value for a message: on one line, clipped."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 42 else f"{text[:40]}…"
