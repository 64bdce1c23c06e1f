"""Exact multiply-adds and parameters of any module, by running it on the meta device.

What counts: convolutions and every matrix product, so linear layers and attention's two products too. One
multiply-add counts as one. Elementwise work, norms, softmax and pooling do not count (CoAtNet's "FLOPs" include them:
2.9 to 0.9 % on top). The formulas are those of `torch.utils.flop_counter`; its own mode attributes counts to modules
by hooks, which a sum over thousands of branches does not need.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from nas.ops import Shape


class Count(NamedTuple):
    """Multiply-adds for one image, parameters, and the `Shape` that comes out as plain numbers."""

    macs: int
    params: int
    shape: tuple[int, ...]


class MacCounter(TorchDispatchMode):
    """Adds up the multiply-adds of everything that runs inside it, as `macs`."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.macs += formula(*args, **(kwargs or {}), out_val=out) // 2
        return out


def count(module: Any, shape: Shape) -> Count:
    """Counts a module that lives on the meta device.

    Args:
        module: An op built under `torch.device("meta")`, for inputs of `shape`.
    """
    x = torch.empty((1, *shape.tensor), device="meta")
    with torch.no_grad(), MacCounter() as counter:
        out = module.eval()(x)
    said, found = Shape(*module.shape), tuple(out.shape[1:])
    assert found in (said.tensor, said[:1]), f"{type(module).__name__} says {said} but gives {found}"
    return Count(counter.macs, sum(p.numel() for p in module.parameters()), tuple(said))
