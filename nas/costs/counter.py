"""Exact multiply-adds and parameters of any module, found by running it on the meta device.

What counts: convolutions and every matrix product, so linear layers and attention's two products too. One
multiply-add counts as one. Elementwise work, norms, softmax and pooling do not count (CoAtNet's "FLOPs" include them:
2.9 to 0.9 % on top). Ops for which neither holds (scans, products written out elementwise) are listed as unsupported.
`torch.utils.flop_counter` attributes counts to modules by hooks, which a sum over thousands of branches does not need.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from nas.costs.aten_ops import formula, has_no_macs, is_outer_product, name_of
from nas.ops import Shape


class Count(NamedTuple):
    """Multiply-adds for one image, parameters, and the output's `Shape` as plain numbers.

    `unsupported` holds (aten op, how often it ran) of what is not among the multiply-adds, sorted by name.
    """

    macs: int
    params: int
    shape: tuple[int, ...]
    unsupported: tuple[tuple[str, int], ...] = ()


class MacCounter(TorchDispatchMode):
    """Adds up the multiply-adds of everything that runs inside it.

    An op of the library may say of aten ops that their work inside it is not counted (`uncounted`, from name to
    reason): with `module` given, they are listed even where they count as elementwise elsewhere.

    Attributes:
        macs: The multiply-adds.
        unsupported: Aten op -> how often it ran, of those that have no formula and are not known to have no
            multiply-adds.
    """

    def __init__(self, module: nn.Module | None = None) -> None:
        super().__init__()
        self.macs = 0
        self.unsupported: Counter[str] = Counter()
        self._module = module
        self._uncounted: list[dict[str, str]] = []
        self._hooks: list[Any] = []

    def __enter__(self) -> MacCounter:
        for part in self._module.modules() if self._module else ():
            if hasattr(type(part), "uncounted"):
                self._hooks.append(part.register_forward_pre_hook(self._begin))
                self._hooks.append(part.register_forward_hook(self._end, always_call=True))
        super().__enter__()
        return self

    def __exit__(self, *fault: Any) -> None:
        super().__exit__(*fault)
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        macs = formula(packet)
        if macs is not None:
            self.macs += macs(*args, **(kwargs or {}), out_val=out)
        elif not has_no_macs(packet) or is_outer_product(packet, args, out) or self._is_uncounted(packet):
            self.unsupported[name_of(packet)] += 1
        return out

    def _begin(self, module: Any, args: Any) -> None:
        self._uncounted.append(module.uncounted)

    def _end(self, module: Any, args: Any, out: Any) -> None:
        self._uncounted.pop()

    def _is_uncounted(self, packet: Any) -> bool:
        return bool(self._uncounted) and any(name_of(packet) in names for names in self._uncounted)


def count(module: Any, shape: Shape) -> Count:
    """Counts a module that lives on the meta device.

    Args:
        module: An op built under `torch.device("meta")`, for inputs of `shape`.
    """
    x = torch.empty((1, *shape.tensor), device="meta")
    with torch.no_grad(), MacCounter(module) as counter:
        out = module.eval()(x)
    said, found = Shape(*module.shape), tuple(out.shape[1:])
    assert found in (said.tensor, said[:1]), f"{type(module).__name__} says {said} but gives {found}"
    params = sum(p.numel() for p in module.parameters())
    return Count(counter.macs, params, tuple(said), tuple(sorted(counter.unsupported.items())))


def together(*parts: Count) -> tuple[tuple[str, int], ...]:
    """Returns the unsupported ops of several counts with how often each ran."""
    found: Counter[str] = Counter()
    for part in parts:
        found.update(dict(part.unsupported))
    return tuple(sorted(found.items()))
