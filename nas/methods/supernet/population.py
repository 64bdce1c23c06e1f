"""Scoring of a population of supernet members together: common prefixes of layers are computed once.

The population is a prefix tree whose nodes are layers: networks share a node if they agree on it and on all layers
before it. BatchNorm recalibration and evaluation of a layer depend only on its prefix, so one depth-first walk per
batch serves all networks. All recalibration batches come first, then all evaluation batches. The scores equal those of
networks scored one by one, bit for bit.
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
"""A tree of layers; a node's value is the layer with BatchNorm statistics for its prefix."""


def population_tree(supernet: Supernet, architectures: Sequence[Architecture]) -> Population:
    """Builds the tree of a population of members; equal layers are the same module of the supernet."""
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
    """Returns the metric of each member with the supernet's weights, BatchNorm recalibrated for each."""
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
    """Runs the layers below a node on (B, C, H, W), and adds the logits of each network to `found`."""
    for branch in tree.branches.values():
        out = branch.value(x)
        for place in branch.ends:
            found[place] = out
        _walk(branch, out, found)


def _own_statistics(module: nn.Module) -> nn.Module:
    """Returns a copy in eval mode that shares all parameters but has its own buffers."""
    shared = {id(parameter): parameter for parameter in module.parameters()}
    return copy.deepcopy(module, shared).eval()
