"""A population of a supernet's members scored together: what begins alike is computed once.

A population is a tree whose nodes are layers: networks share a node where they agree on it and on all before it. Both
what recalibration gathers (batch statistics of training images) and what scoring reads (statistics so far) depend on a
layer's prefix alone, so one walk per batch, depth first, serves all networks below a node. First all batches that
gather statistics, then all that score. Scores equal, bit for bit, those of networks that are scored one by one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas.architecture import Architecture
from nas.data import Dataset, Split
from nas.methods.prefix_tree import PrefixTree
from nas.networks.supernet import Supernet
from nas.training import Recipe
from nas.training.evaluation import (
    Tally,
    batch_norms,
    gathering_statistics,
    recalibration_batches,
    scoring_batches,
)

Population = PrefixTree[nn.Module]
"""Nodes are layers after one prefix; a node's value is the layer with BatchNorm statistics of its own."""


def population_tree(supernet: Supernet, architectures: Sequence[Architecture]) -> Population:
    """The tree of a population of members; equal layers are the same module of the supernet."""
    paths = ([module for _, module in supernet.path(architecture)] for architecture in architectures)
    return Population.of(paths, make=_own_statistics)


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
    root = population_tree(supernet, architectures)
    norms = [norm for node in root.nodes() for norm in batch_norms(node.value)]
    with torch.no_grad(), recipe.autocast():
        if norms:
            with gathering_statistics(norms):
                for x, _ in recalibration_batches(data, recipe, images=recalibration_images):
                    _walk(root, x, {})
        tallies = [Tally(data.info.num_classes, metric) for _ in architectures]
        for x, labels in scoring_batches(validation, data, recipe):
            found: dict[int, Tensor] = {}
            _walk(root, x, found)
            for place, logits in found.items():
                tallies[place].add(logits, labels)
    return [tally.value() for tally in tallies]


def _walk(tree: Population, x: Tensor, found: dict[int, Tensor]) -> None:
    """Runs all that follows a node on (B, C, H, W); adds the logits of each network."""
    for branch in tree.branches.values():
        out = branch.value(x)
        for place in branch.ends:
            found[place] = out
        _walk(branch, out, found)


def _own_statistics(module: nn.Module) -> nn.Module:
    """A copy in eval mode that shares all parameters, with buffers of its own."""
    shared = {id(parameter): parameter for parameter in module.parameters()}
    return copy.deepcopy(module, shared).eval()
