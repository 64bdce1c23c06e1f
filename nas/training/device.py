"""Which device and data type training uses on this machine."""

from __future__ import annotations

import torch

from nas.errors import OptionError

_MOST_OF_FREE = 0.25


def choose_device(wanted: str, *, remedy: str = "Use --device cpu.") -> str:
    """The device that "auto" or a name stands for.

    Raises:
        OptionError: If this machine or this build of torch has no such device.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not has_device(wanted):
        raise OptionError(f"--device {wanted}: this machine's torch {torch.__version__} has none. {remedy}")
    return wanted


def has_device(name: str) -> bool:
    """Whether this machine has a device, such as "cpu", "cuda:1" or "mps"."""
    kind, _, index = name.partition(":")
    if kind == "cuda":
        return torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count()
    return kind == "cpu" or (kind == "mps" and torch.backends.mps.is_available())


def has_room(device: str, size: int) -> bool:
    """Whether so many bytes of images take at most a quarter of what is free on a GPU; a CPU has them already."""
    if not device.startswith("cuda"):
        return device != "cpu"
    free, _ = torch.cuda.mem_get_info(device)
    return size <= _MOST_OF_FREE * free


def in_float64(x: torch.Tensor) -> torch.Tensor:
    """Returns a tensor in float64: where it is, or on the CPU if its device has no such type, as MPS."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def choose_dtype(wanted: str, device: str) -> str:
    """The data type of forward passes: bfloat16 on GPUs, float32 on CPUs, where it gains little on small layers."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if device.startswith("cuda") else "float32"
