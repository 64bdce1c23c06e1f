"""`torch.compile` of networks whose inputs keep their shape, and what a machine may lack for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import cast

import torch
from torch import nn

from nas.errors import OptionError

_NEEDS = {"cpu": "a C++ compiler (g++ or clang++) and Python's header files", "cuda": "Triton"}


def compiled(network: nn.Module, *, fullgraph: bool = False) -> Callable[[torch.Tensor], torch.Tensor]:
    """Returns what runs a network as code that is compiled at the first call, which takes from seconds to minutes.

    Args:
        fullgraph: Whether a part that cannot be compiled is an error, instead of running eagerly.
    """

    def forward(x: torch.Tensor) -> torch.Tensor:
        return network(x)

    # Compiled code is filed under its code object; past a few under the same, a network would run eagerly.
    forward.__code__ = forward.__code__.replace(co_name="forward")
    return cast("Callable[[torch.Tensor], torch.Tensor]", torch.compile(forward, dynamic=False, fullgraph=fullgraph))


@cache
def check_compiler(device: str) -> None:
    """Compiles a sum, which takes seconds the first time, to learn whether this machine can compile at all.

    Raises:
        OptionError: If it cannot: what is missing.
    """
    try:
        torch.compile(_increment, dynamic=False)(torch.ones(2, device=device))
    except Exception as fault:
        needs = _NEEDS.get(torch.device(device).type, "another version of torch")
        raise OptionError(
            f"--compile: torch {torch.__version__} cannot compile for {device} here: {reason(fault)}. Install {needs}, "
            "or leave out --compile."
        ) from None


def reason(fault: BaseException) -> str:
    """Returns in one line why compiling failed: of the error that torch's own wraps, if there is one."""
    inner = getattr(fault, "inner_exception", None) or fault.__cause__ or fault
    lines = [line.strip() for line in str(inner).splitlines() if line.strip()]
    return (lines[0][:200].rstrip(".:") if lines else "") or type(inner).__name__


def _increment(x: torch.Tensor) -> torch.Tensor:
    return x + 1
