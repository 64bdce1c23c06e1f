"""Many members of a supernet scored together: what begins alike is computed once.

A population is a tree whose nodes are layers: networks share a node where they agree on it and on all before it. Both
what recalibration gathers (batch statistics of training images) and what scoring reads (statistics so far) depend on a
layer's prefix alone, so one walk per batch, depth first, serves all networks below a node. First all batches that
gather statistics, then all that score. Scores equal, bit for bit, those of networks that are scored one by one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from nas.architecture import Architecture
from nas.data import Dataset, Split
from nas.networks.supernet import Supernet
from nas.training import Recipe
from nas.training.evaluation import (
    Tally,
    batch_norms,
    gathering_statistics,
    recalibration_batches,
    scoring_batches,
)


@dataclass(eq=False)
class Node:
    """A layer after one prefix: the supernet's weights, and BatchNorm statistics of its own.

    Attributes:
        source: The supernet's module, by which equal layers are known.
        ends: Places in the population of the networks that end here.
    """

    source: nn.Module
    module: nn.Module
    children: list[Node] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def follow(self, module: nn.Module) -> Node:
        """The child that is this layer, made if there is none."""
        for child in self.children:
            if child.source is module:
                return child
        self.children.append(Node(module, _own_statistics(module)))
        return self.children[-1]

    def walk(self, x: Tensor, found: dict[int, Tensor]) -> None:
        """Runs all that follows on (B, C, H, W); adds the logits of each network."""
        for child in self.children:
            out = child.module(x)
            for place in child.ends:
                found[place] = out
            child.walk(out, found)


def plant(supernet: Supernet, architectures: Sequence[Architecture]) -> Node:
    """The tree of a population; its root is no layer."""
    root = Node(nn.Identity(), nn.Identity())
    for place, architecture in enumerate(architectures):
        node = root
        for _, module in supernet.path(architecture):
            node = node.follow(module)
        node.ends.append(place)
    return root


def score_population(
    supernet: Supernet,
    architectures: Sequence[Architecture],
    data: Dataset,
    recipe: Recipe,
    *,
    metric: str,
    recalibration_images: int,
    validation: Split,
) -> list[float]:
    """The metric of each member with the supernet's weights, BatchNorm recalibrated for each."""
    root = plant(supernet, architectures)
    norms = [norm for node in _nodes(root) for norm in batch_norms(node.module)]
    with torch.no_grad(), recipe.autocast():
        if norms:
            with gathering_statistics(norms):
                for x, _ in recalibration_batches(data, recipe, images=recalibration_images):
                    root.walk(x, {})
        tallies = [Tally(data.info.num_classes, metric) for _ in architectures]
        for x, labels in scoring_batches(validation, data, recipe):
            found: dict[int, Tensor] = {}
            root.walk(x, found)
            for place, logits in found.items():
                tallies[place].add(logits, labels)
    return [tally.value() for tally in tallies]


def _nodes(root: Node) -> list[Node]:
    found, waiting = [], [*root.children]
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting += node.children
    return found


def _own_statistics(module: nn.Module) -> nn.Module:
    """A copy in eval mode that shares all parameters, with buffers of its own."""
    shared = {id(parameter): parameter for parameter in module.parameters()}
    return copy.deepcopy(module, shared).eval()
