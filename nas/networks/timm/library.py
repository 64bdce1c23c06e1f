"""timm itself, imported where its own functions are needed, and what to install where it cannot be."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import Any

import torch

from nas.errors import OptionError

_WHEELS = "https://download.pytorch.org/whl"


def timm_module(name: str, *, purpose: str) -> Any:
    """Returns a module of timm, such as "timm.models"; `purpose` is what needs it.

    Raises:
        OptionError: If timm is not installed, or torchvision does not belong to the torch that is installed.
    """
    try:
        return import_module(name)
    except ImportError as fault:
        if fault.name not in ("timm", None) and not str(fault.name).startswith("timm."):
            raise OptionError(f"{purpose} needs timm, which cannot be imported: {_reason(fault)}.") from fault
        raise OptionError(f"{purpose} needs timm, which is not installed: pip install timm.") from None
    except RuntimeError as fault:
        if "torchvision::" not in str(fault):
            raise OptionError(f"{purpose} needs timm, which cannot be imported: {_reason(fault)}.") from fault
        raise OptionError(f"{purpose} needs timm, which needs torchvision: {wrong_torchvision(fault)}") from fault


def wrong_torchvision(fault: BaseException) -> str:
    """Returns what is wrong with a torchvision that was built for another torch, and the command that replaces it."""
    has = metadata.version("torchvision")
    return (
        f"torchvision {has} was built for another torch than {torch.__version__} ({_reason(fault)}). "
        f"Install the one of this torch: {matching_torchvision(torch.__version__)}"
    )


def matching_torchvision(torch_version: str) -> str:
    """Returns the command that installs the torchvision of a torch version such as 2.8.0+cpu: 0.23, from its index.

    Since 2.0, minor version N of torch 2 goes with 0.(N + 15) of torchvision. `+cpu` and `+cu126` are builds, each
    with an index of its own.
    """
    version, _, build = torch_version.partition("+")
    parts = version.split(".")
    wanted = f"'torchvision==0.{int(parts[1]) + 15}.*'" if parts[0] == "2" else "torchvision"
    index = f" --index-url {_WHEELS}/{build}" if build else ""
    return f"pip install --force-reinstall --no-deps {wanted}{index}"


def _reason(fault: BaseException) -> str:
    return " ".join(str(fault).split())[:200].rstrip(".")
