"""Definition of ops: each once, as a module with a typed config.

    @op("mbconv")
    class MBConv(nn.Module):
        @dataclass(frozen=True, slots=True, kw_only=True)
        class Config:
            width: int
            kernel_size: int = 3

        elastic = ("width", "kernel_size")

        def __init__(self, config: Config, shape: Shape) -> None: ...   # sets self.shape, the output's
        def forward(self, x: torch.Tensor) -> torch.Tensor: ...        # (B, *shape) -> (B, *self.shape)

An op whose main work is neither a convolution nor a matrix product says so, and counts then name it as not counted:

        uncounted: ClassVar[dict[str, str]] = {"cumsum": "elementwise scan"}   # per aten op, the reason

Parameters with two axes or more that weight decay leaves alone are listed by the module that has them, as timm's
`no_weight_decay` does for a network (fewer axes: norms, biases and scales never decay):

        no_decay: tuple[str, ...] = ("table",)

Everything else is derived from it: the standalone model, the exact cost (by running it on the meta device), the
supernet (`elastic` names the parameters over which weights are shared) and the exported source.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from torch import nn

from nas.errors import ArchitectureError

Kind = TypeVar("Kind", bound=type[nn.Module])
OPS: dict[str, Any] = {}


class Shape(NamedTuple):
    """Shape of what flows between ops, without its batch axis: a feature map, and tokens beside it if there are any.

    Without tokens the tensor is (B, channels, height, width). With tokens (class tokens, carriers, memories) it is
    (B, channels, tokens + height * width, 1): the tokens first, then the map's positions row by row. Ops that
    work on each position alone (norms over channels, 1x1 convolutions, feed-forward) need no special case.

    A network of parallel streams (CrossViT) has them one after another in a tensor (B, numbers, 1, 1); `streams` are
    their shapes. Only ops with `takes_streams` know of them.
    """

    channels: int
    height: int
    width: int
    tokens: int = 0
    streams: Any = ()

    @property
    def tensor(self) -> tuple[int, int, int]:
        """Sizes of the tensor's axes after the batch."""
        if self.tokens:
            return self.channels, self.tokens + self.height * self.width, 1
        return self.channels, self.height, self.width


def op(name: str) -> Callable[[Kind], Kind]:
    """Registers an op under the name that configs use for it."""

    def file(kind: Kind) -> Kind:
        OPS[name] = kind
        return kind

    return file


def make(node: dict[str, Any], shape: Shape) -> Any:
    """Builds the op that `node` (`{"op": name, parameter: value, …}`) describes, for inputs of `shape`."""
    require(node["op"] in OPS, f"There is no op {node['op']!r}; nas.ops.OPS has them all.")
    kind = OPS[node["op"]]
    require(
        not shape.streams or getattr(kind, "takes_streams", False),
        f"{node['op']} works on one stream, not on {len(shape.streams)}: put one per stream into the op streams.",
    )
    return kind(kind.Config(**{key: value for key, value in node.items() if key != "op"}), shape)


def require(holds: bool, message: str) -> None:
    """Raises ArchitectureError with `message` unless `holds`."""
    if not holds:
        raise ArchitectureError(message)


def require_map(op: str, shape: Shape) -> None:
    """Checks that an op which looks at neighbors gets a map without tokens.

    Raises:
        ArchitectureError: If not.
    """
    require(not shape.tokens, f"{op}: tokens have no neighbors; drop them before.")


def require_divisor(op: str, name: str, divisor: int, of: str, total: int) -> None:
    """Raises ArchitectureError unless `divisor` divides `total`, with the nearest numbers that do."""
    if total % divisor:
        below = next(number for number in range(min(divisor, total), 0, -1) if total % number == 0)
        above = next((number for number in range(divisor, total + 1) if total % number == 0), None)
        nearest = f"{below} or {above}" if above else f"{below}"
        raise ArchitectureError(f"{op}: {name}={divisor} does not divide {of}={total}: use {nearest}.")
