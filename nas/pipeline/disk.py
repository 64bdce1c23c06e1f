"""Upper bound of a run's disk use: announced, and checked against free space before anything is trained."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.errors import RunError
from nas.methods.protocol.plan import Plan
from nas.methods.protocol.search_method import SearchMethod
from nas.sampling.budget_sampler import BudgetSampler
from nas.spaces import END, START, Node
from nas.training.checkpoint import size_on_disk

_BINS = 256
# Events, tables, plots and the page: a constant per run, and a part per trial.
_FIXED, _PER_TRIAL = 8_000_000, 16_000
# The part of a network's files other than parameters: BatchNorm's statistics, names, the code, the card.
_NETWORK_SHARE, _NETWORK_FIXED = 1.1, 500_000


def most_bytes(
    plan: Plan,
    method: SearchMethod[Any],
    searched: BudgetSampler,
    *,
    at_once: int,
    rivals: Sequence[int] = (),
    averaged: bool = False,
) -> dict[str, int]:
    """Returns the most bytes that a run's folder takes at any time, by phase.

    A finalist that is stopped because others are ahead keeps its last two checkpoints and its best.

    Args:
        searched: Sampler of the space that finalists come from.
        at_once: Number of networks trained in parallel, some of which may be stopped; 0 if trained in sequence.
        rivals: Parameters of each network that is trained beside the finalists.
        averaged: Whether finalists' checkpoints hold an average of the weights too.
    """
    network = _network_bytes(most_params(searched))
    own = method.disk(plan, network=network)
    trained = sorted([*[network] * plan.finalists, *map(_network_bytes, rivals)], reverse=True)
    whole = 4 if averaged else 3  # of a checkpoint: weights, two moments of each, their average
    finalists = sum(trained) * (2 * whole + 1 if at_once else 2)
    other = _FIXED + _PER_TRIAL * plan.trials
    most = {
        **own.before,
        **({} if method.phase is None else {method.phase: own.most_training(at_once)}),
        "search": own.kept,
        "finalists": own.kept + finalists + sum(trained[: max(1, at_once)]) * 3 * whole,
        # Weights and ONNX of each winner, plus the temporary copy of the one being exported.
        "export": own.kept + finalists + (sum(trained) + trained[0]) * 2,
    }
    return {phase: count + other for phase, count in most.items()}


def _network_bytes(params: int) -> int:
    return int(_NETWORK_SHARE * 4 * params) + _NETWORK_FIXED


def most_training_bytes(network: torch.nn.Module, *, averaged: bool = False) -> int:
    """Returns the most bytes that training and exporting one network takes.

    Args:
        averaged: Whether checkpoints hold an average of the weights too.
    """
    weights, whole = (size_on_disk(network, moments=moments) for moments in (0, 2))
    whole += weights * averaged
    return 3 * whole + weights + 4 * weights + _FIXED


def most_params(sampler: BudgetSampler) -> int:
    """Returns an upper bound of the parameters of all members within a sampler's bounds.

    Exact if parameters are bounded; otherwise multiply-adds are rounded down, so the bound is slightly too high.
    """
    bounds = dict(zip(sampler.counted.metrics, sampler.counted.bounds, strict=True))
    most = sampler.extremes("params")[1]
    if "params" in bounds:
        return min(int(bounds["params"]), most)
    return min(most, max(_most_of_layout(sampler, layout, int(bounds["macs"])) for layout in sampler.layouts))


def _most_of_layout(sampler: BudgetSampler, layout: str, bound: int) -> int:
    """Returns the most parameters of a layout, by dynamic programming over the decision graph and the MACs spent."""
    graph = sampler.costs.graph(layout)
    best: dict[Node, np.ndarray] = {START: np.zeros(_BINS + 1)}
    for node in graph.nodes[:-1]:
        params = best.pop(node, None)
        if params is None:
            continue
        most: dict[tuple[Node, int], int] = defaultdict(int)
        for option in graph.options[node]:
            key = option.node, option.macs * _BINS // bound
            most[key] = max(most[key], option.params)
        for (following, spent), gained in most.items():
            if spent <= _BINS:
                there = best.setdefault(following, np.full(_BINS + 1, -np.inf))
                np.maximum(there[spent:], params[: _BINS + 1 - spent] + gained, out=there[spent:])
    return int(max(0.0, float(best[END].max()))) if END in best else 0


def check_room(folder: Path, needed: int, *, less: str = "") -> int:
    """Checks that a folder has room on its disk; returns the free bytes.

    Args:
        less: What to ask for to need less, for the message.
        needed: Upper bound of the folder's final size; bytes that it holds already count as available.

    Raises:
        RunError: If there are fewer.
    """
    free, used = free_bytes(folder), folder_bytes(folder)
    if needed - used > free:
        raise RunError(
            f"{folder} may take {megabytes(needed)}, but only {megabytes(free)} are free. Free some space, or choose "
            f"another --out{less}."
        )
    return free


def free_bytes(folder: Path) -> int:
    """Returns the free bytes of the disk that a folder is or will be on."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def folder_bytes(folder: Path) -> int:
    """Returns the bytes of all files in a folder; hard links to one file are counted once."""
    seen: dict[tuple[int, int], int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.lstat(os.path.join(parent, name))
            except OSError:
                continue  # deleted in the meantime
            seen[found.st_dev, found.st_ino] = found.st_size
    return sum(seen.values())


def megabytes(count: int) -> str:
    """Formats a size for people."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
