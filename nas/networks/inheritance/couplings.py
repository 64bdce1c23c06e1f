"""Which axes of a network's tensors have to be permuted together: channels, heads and hidden units.

The network runs once on the meta device while every index along every axis of every tensor has a label. Ops tie labels
(a convolution's input channels to its weights', the two sides of a residual addition, the channels of one head), and
what is tied together has to move together: a *unit*, such as one channel of the residual stream with the rows and
columns of all weights that read or write it. Units that are alike (one index on the same axes of the same tensors) form
a `Group`, and may be put in any order without changing what the network computes. This is the dependency graph of
DepGraph (Fang et al. 2023, arXiv:2301.12900), found index by index.

Labels of what must not move (classes, positions, batch) are tied to label 0, and so is whatever an op does that
`nas.networks.inheritance.rules` does not know: such units keep their places.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from nas.architecture import Architecture
from nas.networks.inheritance.labels import FIXED, Edges, Labels, fixed, zeros
from nas.networks.inheritance.rules import follow
from nas.networks.network import Network

BATCH = 2
"""Images of an input on the meta device: one alone could be broadcast."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """Units that may be put in any order.

    Attributes:
        places: Per (tensor, axis) that they lie on, the indices of each unit: (units, indices per unit).
    """

    places: dict[tuple[str, int], NDArray[np.int64]]

    @property
    def size(self) -> int:
        """The number of units."""
        return len(next(iter(self.places.values())))


def permute(state: dict[str, torch.Tensor], orders: Iterable[tuple[Group, NDArray[np.int64]]]) -> None:
    """Puts units of a state dict in another order, in place: `order[i]` is the unit that comes to place i."""
    for group, order in orders:
        for (name, axis), places in group.places.items():
            index = np.arange(state[name].shape[axis])
            index[places.ravel()] = places[order].ravel()
            state[name] = state[name].index_select(axis, torch.from_numpy(index).to(state[name].device))


def couplings(architecture: Architecture) -> tuple[list[Group], list[str]]:
    """Returns the groups of a network's units.

    Returns:
        The groups, and the names of the ops that no rule is known for: what passes through them keeps its place.
    """
    with torch.device("meta"):
        network = Network(architecture.to_dict())
    size = architecture.input.resolution
    images = torch.empty(BATCH, architecture.input.channels, size, size, device="meta")
    return groups_of(network, images, fixed_ends=True)


def groups_of(network: nn.Module, x: torch.Tensor, *, fixed_ends: bool = False) -> tuple[list[Group], list[str]]:
    """As `couplings`, of a network or a part of one.

    Args:
        network: On the meta device.
        x: Its input there, with two images.
        fixed_ends: Whether the channels of its input and output keep their places, as those of images and classes do.
    """
    network.eval()
    with torch.no_grad(), _Follower(network) as follower:
        if not fixed_ends:
            follower.label(x)
        out = network(x)
    if fixed_ends:
        follower.fix(out)
    return follower.groups(), sorted(follower.unknown)


class _Follower(TorchDispatchMode):
    """Follows the labels of a network's tensors through all ops.

    Attributes:
        unknown: Names of ops without a rule.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.unknown: set[str] = set()
        self._edges = Edges()
        self._labels: dict[int, tuple[torch.Tensor, Labels]] = {}
        self._stored: dict[tuple[str, int], NDArray[np.int64]] = {}
        self._next = FIXED + 1
        for name, tensor in (*network.named_parameters(), *network.named_buffers()):
            if tensor.is_floating_point():
                self._labels[id(tensor)] = tensor, tuple(self._fresh(name, axis, n) for axis, n in _axes(tensor))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__
        found = follow(name.removesuffix("_"), args, kwargs or {}, out, self._of, self._edges)
        if found is None:
            self.unknown.add(name.removesuffix("_"))
            for tensor in _tensors((args, kwargs)):
                self.fix(tensor)
            found = [fixed(each) for each in _tensors(out)]
        for tensor, labels in zip(_tensors(out), found, strict=True):
            assert [len(each) for each in labels] == list(tensor.shape), (name, tensor.shape, labels)
            self._labels[id(tensor)] = tensor, labels
        return out

    def label(self, x: torch.Tensor) -> None:
        """Lets the channels of an input move, which are its second axis."""
        labels = [zeros(size) for size in x.shape]
        labels[1] = np.arange(self._next, self._next + x.shape[1])
        self._next += x.shape[1]
        self._labels[id(x)] = x, tuple(labels)

    def fix(self, tensor: torch.Tensor) -> None:
        """Keeps everything along a tensor's axes in its place."""
        for labels in self._of(tensor):
            self._edges.fix(labels)

    def groups(self) -> list[Group]:
        """Returns the groups of units that may move, larger ones first."""
        first, second = self._edges.ends()
        graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(self._next, self._next))
        unit = connected_components(graph, directed=False)[1]
        axes: dict[int, dict[tuple[str, int], list[int]]] = defaultdict(lambda: defaultdict(list))
        for key, labels in self._stored.items():
            for index, label in enumerate(labels.tolist()):
                if unit[label] != unit[FIXED]:
                    axes[int(unit[label])][key].append(index)
        alike: dict[Any, list[dict[tuple[str, int], list[int]]]] = defaultdict(list)
        for each in axes.values():
            alike[tuple(sorted((key, len(indices)) for key, indices in each.items()))].append(each)
        groups = [
            Group(places={key: np.array([each[key] for each in units], np.int64) for key in units[0]})
            for units in alike.values()
            if len(units) > 1
        ]
        return sorted(groups, key=lambda group: (-len(group.places), min(group.places)))

    def _of(self, tensor: torch.Tensor) -> Labels:
        return self._labels[id(tensor)][1] if id(tensor) in self._labels else fixed(tensor)

    def _fresh(self, name: str, axis: int, count: int) -> NDArray[np.int64]:
        labels = np.arange(self._next, self._next + count)
        self._next += count
        self._stored[name, axis] = labels
        return labels


def _axes(tensor: torch.Tensor) -> list[tuple[int, int]]:
    return list(enumerate(tensor.shape))


def _tensors(found: Any) -> list[torch.Tensor]:
    if isinstance(found, torch.Tensor):
        return [found]
    if isinstance(found, dict):
        return [tensor for each in found.values() for tensor in _tensors(each)]
    return [tensor for each in found for tensor in _tensors(each)] if isinstance(found, list | tuple) else []
