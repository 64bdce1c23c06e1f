"""Forward and backward of a subnet in the supernet over the same subnet alone; see README.md."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile

import nas
from nas.sampling.budget_sampler import BudgetSampler
from nas.training import Recipe
from nas.training.recipe import make_optimizer

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "supernet-overhead"
CASES = {"coatnet": ("4.2GFLOPs", 64), "coatnet-small": ("5MFLOPs", 32)}
LAYOUT = "CCAA"


class InSupernet:
    """A member as the shared weights train it."""

    def __init__(self, supernet: nas.Supernet, architecture: nas.Architecture, recipe: Recipe) -> None:
        self.supernet, self.architecture = supernet, architecture
        self.optimizer = make_optimizer(supernet, recipe)

    def learn(self, x: torch.Tensor, labels: torch.Tensor) -> None:
        self.supernet.train()
        self.supernet.backward(F.cross_entropy(self.supernet(x, self.architecture), labels))

    def update(self) -> dict[str, float]:
        parts = {
            "publish": self.supernet.publish_gradients,
            "clip": lambda: nn.utils.clip_grad_norm_(_with_gradients(self.supernet), 1.0),
            "step": self.optimizer.step,
            "clear": self.supernet.clear_gradients,
        }
        return {name: _seconds(part) for name, part in parts.items()}


class Alone:
    """The same member extracted."""

    def __init__(self, supernet: nas.Supernet, architecture: nas.Architecture, recipe: Recipe) -> None:
        self.network = supernet.extract(architecture)
        self.optimizer = make_optimizer(self.network, recipe)

    def learn(self, x: torch.Tensor, labels: torch.Tensor) -> None:
        self.network.train()
        F.cross_entropy(self.network(x), labels).backward()

    def update(self) -> dict[str, float]:
        parts = {
            "clip": lambda: nn.utils.clip_grad_norm_(_with_gradients(self.network), 1.0),
            "step": self.optimizer.step,
            "clear": lambda: self.network.zero_grad(set_to_none=True),
        }
        return {name: _seconds(part) for name, part in parts.items()}


def _with_gradients(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.grad is not None]


def _seconds(run: Callable[[], Any]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def members(sampler: BudgetSampler) -> dict[str, nas.Architecture]:
    """The smallest, the median of 101 draws and the largest of one layout."""
    rng = random.Random(0)
    draws = sorted((sampler.sample(rng, layout=LAYOUT) for _ in range(101)), key=lambda d: d.cost.macs)
    return {
        "smallest": sampler.smallest(rng, LAYOUT).architecture,
        "median": draws[50].architecture,
        "largest": sampler.largest(rng, LAYOUT).architecture,
    }


def compare(inside: InSupernet, alone: Alone, x: torch.Tensor, repeats: int) -> dict[str, Any]:
    """Both in turn, the order changing each time; medians of CPU seconds and of the ratios of neighbours."""
    labels = torch.arange(len(x)) % 10
    learning: dict[str, list[float]] = {"supernet": [], "alone": []}
    updating: dict[str, list[dict[str, float]]] = {"supernet": [], "alone": []}
    sides = [("supernet", inside), ("alone", alone)]
    for turn in range(repeats + 2):
        for name, side in sides if turn % 2 else sides[::-1]:
            learned = _seconds(lambda side=side: side.learn(x, labels))
            updated = side.update()
            if turn > 1:  # two turns warm up
                learning[name].append(learned)
                updating[name].append(updated)
    ratios = [a / b for a, b in zip(learning["supernet"], learning["alone"], strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "ratio": round(statistics.median(ratios), 4),
        "ratio_quartiles": [round(low, 4), round(high, 4)],
        "ratio_of_medians": round(statistics.median(learning["supernet"]) / statistics.median(learning["alone"]), 4),
        "ratio_of_minima": round(min(learning["supernet"]) / min(learning["alone"]), 4),
        "n": repeats,
        **{f"{name}_ms": round(1e3 * statistics.median(v), 2) for name, v in learning.items()},
        **{
            f"{name}_update_ms": {key: round(1e3 * statistics.median(u[key] for u in updates), 2) for key in updates[0]}
            for name, updates in updating.items()
        },
    }


def differences(inside: InSupernet, alone: Alone, x: torch.Tensor, *, turns: int = 2) -> list[dict[str, Any]]:
    """The operators whose own time (the least of some recordings, in ms) differs most between the two."""
    labels = torch.arange(len(x)) % 10
    least: list[dict[str, float]] = [{}, {}]
    for _ in range(turns):
        for table, side in zip(least, (inside, alone), strict=True):
            with profile(activities=[ProfilerActivity.CPU]) as recorded:
                side.learn(x, labels)
            side.update()
            for row in recorded.key_averages():
                table[row.key] = min(row.self_cpu_time_total / 1e3, table.get(row.key, float("inf")))
    ours, other = least
    keys = sorted(ours.keys() | other.keys(), key=lambda k: -abs(ours.get(k, 0) - other.get(k, 0)))
    return [
        {"operator": k, "supernet_ms": round(ours.get(k, 0), 2), "alone_ms": round(other.get(k, 0), 2)}
        for k in keys[:8]
    ]


def main() -> None:
    """Measures every case and writes `results/supernet-overhead/<space>.json`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("space", choices=[*CASES])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--resolution", type=int, help="image side (default: 64 for coatnet, 32 for coatnet-small)")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    budget, resolution = CASES[options.space]
    resolution = options.resolution or resolution
    torch.set_num_threads(1)
    torch.manual_seed(0)
    space = nas.load_space(options.space)
    sampler = BudgetSampler(space, [nas.Budget.parse(budget)])
    smaller = space.adapted(resolution=resolution, num_classes=10)
    supernet = nas.Supernet(smaller, seed=0, choices=sampler.feasible_choices())
    recipe, rows = Recipe(epochs=1, learning_rate=1e-6), []
    held = sum(p.numel() for p in supernet.parameters())
    facts = {"space": options.space, "budget": budget, "resolution": resolution, "supernet_parameters": held}
    facts |= provenance(
        f"OMP_NUM_THREADS=1 python experiments/supernet-overhead/measure.py {options.space} "
        f"--resolution {resolution} --repeats {options.repeats} --batches {' '.join(map(str, options.batches))}"
    )
    out = options.out or RESULTS / f"{options.space}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    for size, architecture in members(sampler).items():
        for batch in options.batches:
            inside, alone = (kind(supernet, architecture, recipe) for kind in (InSupernet, Alone))
            x = torch.randn(batch, 3, resolution, resolution).to(memory_format=torch.channels_last)
            with torch.no_grad():
                assert torch.equal(supernet.train()(x, architecture), alone.network.train()(x))
            row: dict[str, Any] = {"member": size, "macs": nas.cost(architecture).macs, "batch": batch}
            row["parameters"] = sum(p.numel() for p in alone.network.parameters())
            row |= compare(inside, alone, x, options.repeats)
            if batch == options.batches[0]:
                row["operators"] = differences(inside, alone, x)
            rows.append(row)
            out.write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")
            print(json.dumps({k: v for k, v in row.items() if k != "operators"}), flush=True)


if __name__ == "__main__":
    main()
