"""How much disk a run takes at most: said beforehand, and asked for before anything is trained."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
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
# Events, tables, plots and the page: what there is in any run, and what grows with the trials.
_FIXED, _PER_TRIAL = 8_000_000, 16_000
# A network's file beside its parameters: BatchNorm's statistics, names, the code, the card.
_NETWORK_SHARE, _NETWORK_FIXED = 1.1, 500_000


def most_bytes(plan: Plan, method: SearchMethod[Any], searched: BudgetSampler, *, at_once: int) -> dict[str, int]:
    """The most that a run's folder takes at any time, by phase.

    Of a finalist that is stopped because others are ahead, the last two checkpoints and the best remain.

    Args:
        searched: What finalists come from.
        at_once: Finalists that are trained side by side, some of which may be stopped; 0 for one after the other.
    """
    network = int(_NETWORK_SHARE * 4 * most_params(searched)) + _NETWORK_FIXED
    own = method.disk(plan, network=network)
    finalists = plan.finalists * (7 if at_once else 2) * network
    other = _FIXED + _PER_TRIAL * plan.trials
    most = {
        **({} if method.phase is None else {method.phase: own.training}),
        "search": own.kept,
        "finalists": own.kept + finalists + min(max(1, at_once), plan.finalists) * 3 * 3 * network,
        # Each winner as weights and as ONNX, the one in the making beside them.
        "export": own.kept + finalists + (plan.finalists + 1) * 2 * network,
    }
    return {phase: count + other for phase, count in most.items()}


def most_training_bytes(network: torch.nn.Module) -> int:
    """The most that training and exporting one network takes."""
    weights, whole = (size_on_disk(network, moments=moments) for moments in (0, 2))
    return 3 * whole + weights + 4 * weights + _FIXED


def most_params(sampler: BudgetSampler) -> int:
    """No member within a sampler's bounds has more parameters.

    Exact where parameters are bounded; else over multiply-adds that are rounded down, so that the answer is a little
    too high rather than too low.
    """
    bounds = dict(zip(sampler.counted.metrics, sampler.counted.bounds, strict=True))
    most = sampler.extremes("params")[1]
    if "params" in bounds:
        return min(int(bounds["params"]), most)
    return min(most, max(_most_of_layout(sampler, layout, int(bounds["macs"])) for layout in sampler.layouts))


def _most_of_layout(sampler: BudgetSampler, layout: str, bound: int) -> int:
    """Over the graph of decisions, the most parameters by the node reached and the multiply-adds spent."""
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


def check_room(folder: Path, needed: int) -> int:
    """Bytes that are free where a folder is or will be.

    Args:
        needed: Bytes that the folder will hold at most; those that it holds already are not asked for again.

    Raises:
        RunError: If there are fewer.
    """
    free, used = free_bytes(folder), folder_bytes(folder)
    if needed - used > free:
        raise RunError(
            f"{folder} may take {megabytes(needed)} and {megabytes(free)} are free there. Free some space, choose "
            "another --out, or ask for fewer --finalists."
        )
    return free


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written where a folder is or will be."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder, each counted once however many names it has."""
    seen: dict[tuple[int, int], int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.lstat(os.path.join(parent, name))
            except OSError:
                continue  # gone while we looked
            seen[found.st_dev, found.st_ino] = found.st_size
    return sum(seen.values())


def megabytes(count: int) -> str:
    """A size for people."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
