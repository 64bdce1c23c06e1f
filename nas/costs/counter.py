"""Exact multiply-adds and parameters of any module, found by running it on the meta device.

What counts: convolutions and every matrix product, so linear layers and attention's two products too. One
multiply-add counts as one. Elementwise work, norms, softmax and pooling do not count (CoAtNet's "FLOPs" include them:
2.9 to 0.9 % on top); `nas.costs.aten_ops` lists them. Whatever neither has a formula nor is listed there (scans, matrix
products written out as products and sums) is counted by its name, and so is what a module's class declares as its own
uncounted work. The formulas are those of
`torch.utils.flop_counter`; its own mode attributes counts to modules by hooks, which a sum over thousands of branches
does not need.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from nas.costs.aten_ops import AtenOp, is_outer_product
from nas.costs.meta_outputs import MetaOutputs
from nas.ops import Shape


class Count(NamedTuple):
    """Multiply-adds for one image, parameters, and the output's `Shape` as plain numbers.

    Attributes:
        unsupported: Name and number of calls of each aten op whose work is not in `macs`, in order of names.
    """

    macs: int
    params: int
    shape: tuple[int, ...]
    unsupported: tuple[tuple[str, int], ...] = ()


class MacCounter(MetaOutputs, TorchDispatchMode):
    """Adds up the multiply-adds of everything that runs inside it.

    Args:
        module: Whose parts' `uncounted` ops are looked for while each of them runs.

    Attributes:
        macs: The multiply-adds.
        unsupported: Calls of aten ops whose work is not in `macs`, by name.
    """

    def __init__(self, module: nn.Module | None = None) -> None:
        super().__init__()
        self.macs = 0
        self.unsupported: Counter[str] = Counter()
        self._parts = [] if module is None else [part for part in module.modules() if uncounted(type(part))]
        self._declared: list[Mapping[str, str]] = [{}]
        self._hooks: list[Any] = []

    def __enter__(self) -> MacCounter:
        for part in self._parts:
            declared = uncounted(type(part))
            self._hooks += [
                part.register_forward_pre_hook(lambda *_, inside=declared: self._declared.append(inside)),
                part.register_forward_hook(lambda *_: self._leave()),
            ]
        return super().__enter__()

    def __exit__(self, *fault: Any) -> None:
        super().__exit__(*fault)
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def note(self, op: AtenOp, args: Any, kwargs: Any, out: Any) -> None:
        if op.macs is not None:
            self.macs += op.macs(args, kwargs, out)
        elif not op.free or op.name in self._declared[-1] or is_outer_product(op.name, args, out):
            self.unsupported[op.name] += 1

    def _leave(self) -> None:
        self._declared.pop()


def uncounted(kind: type) -> Mapping[str, str]:
    """Returns what a module's class declares: per aten op that is its main work and has no formula, the reason."""
    return getattr(kind, "uncounted", {})


def count(module: Any, shape: Shape) -> Count:
    """Counts a module that lives on the meta device.

    Args:
        module: An op built under `torch.device("meta")`, for inputs of `shape`.
    """
    x = torch.empty((1, *shape.tensor), device="meta")
    module.eval()
    with torch.no_grad(), MacCounter(module) as counter:
        out = module(x)
    said, found = Shape(*module.shape), tuple(out.shape[1:])
    assert found in (said.tensor, said[:1]), f"{type(module).__name__} says {said} but gives {found}"
    params = sum(p.numel() for p in module.parameters())
    return Count(counter.macs, params, tuple(said), tuple(sorted(counter.unsupported.items())))
