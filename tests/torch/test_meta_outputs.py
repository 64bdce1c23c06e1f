"""Outputs that are known without torch's kernels for the meta device are those that torch gives."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import nas
from nas.costs.aten_ops import aten_op
from nas.costs.meta_outputs import known_output
from nas.networks.network import build

NETWORKS = (
    "coatnet_0", "crossvit_9", "edgenext_xxs", "fastvit_t8", "levit_128s", "mobilevit_xxs", "poolformerv2_s12",
    "resnet18", "swin_tiny", "vit_tiny",
)  # fmt: skip


def lies(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Shape, type and strides, but for axes of one position, along which nothing lies."""
    strides = [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]
    return tuple(tensor.shape), tensor.dtype, strides


class Compared(TorchDispatchMode):
    """Compares every output that is known with torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.known: Counter[str] = Counter()
        self.wrong: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = aten_op(func).name, kwargs or {}
        ours = known_output(func, name, args, kwargs)
        theirs = func(*args, **kwargs)
        if ours is not None:
            self.known[name] += 1
            pairs = [(ours, theirs)] if isinstance(ours, torch.Tensor) else list(zip(ours, theirs, strict=True))
            self.wrong += [(func, lies(a), lies(b)) for a, b in pairs if lies(a) != lies(b)]
        return theirs


def compared(network: Any, x: torch.Tensor) -> Compared:
    with torch.no_grad(), Compared() as found:
        network.eval()(x)
    return found


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_give_what_torch_gives(name: str, channels_last: bool) -> None:
    architecture = nas.load_architecture(name)
    form = torch.channels_last if channels_last else torch.contiguous_format
    side = architecture.input.resolution
    with torch.device("meta"):
        network, x = build(architecture), torch.empty(2, 3, side, side).contiguous(memory_format=form)
        found = compared(network, x)
    assert found.wrong == []
    assert found.known.total() > 10


ODD = {
    "a gap": lambda x: x[:, ::2] + 1,
    "an expanded axis": lambda x: x[:, :1].expand(-1, 4, -1, -1) * x,
    "a permuted map": lambda x: x.permute(0, 2, 3, 1) * 2 + x.permute(0, 2, 3, 1),
    "two orders": lambda x: x + x.contiguous(memory_format=torch.channels_last),
    "a scale before": lambda x: torch.ones(4, 1, 1) * x.contiguous(memory_format=torch.channels_last),
    "a row before": lambda x: torch.ones(1, 4, 6, 1) * x,
    "one position": lambda x: x[..., :1, :1].contiguous(memory_format=torch.channels_last) * 3,
    "another type": lambda x: x + torch.ones(4, 1, 1, dtype=torch.float64),
    "integers": lambda x: torch.arange(4) + 1,
    "in place": lambda x: x.mul_(torch.ones(4, 1, 1)),
    "a mean of some axes": lambda x: x.mean((2, 3), keepdim=True) + x.mean(1).mean(-1),
    "a mean of all": lambda x: x.mean(),
    "softmax of a permuted map": lambda x: x.permute(0, 2, 3, 1).softmax(-1),
    "softmax of another type": lambda x: x.softmax(-1, dtype=torch.float64),
    "norm of a permuted map": lambda x: torch.nn.functional.layer_norm(x.permute(0, 2, 3, 1), (4,)),
}


@pytest.mark.parametrize("call", ODD.values(), ids=ODD)
def test_odd_operands_give_what_torch_gives(call: Any) -> None:
    with torch.device("meta"), torch.no_grad(), Compared() as found:
        call(torch.empty(2, 4, 6, 5))
    assert found.wrong == []


def test_shapes_that_do_not_fit_are_left_to_torch() -> None:
    with torch.device("meta"):
        x, y = torch.empty(2, 3), torch.empty(4)
    assert known_output(torch.ops.aten.add.Tensor, "add", (x, y), {}) is None
    assert known_output(torch.ops.aten.add_.Tensor, "add", (y[:1], x), {}) is None
