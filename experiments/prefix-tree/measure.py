"""What scoring networks together saves, against what they have in common; see README.md."""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import nas
from nas.architecture import Architecture
from nas.costs import TABLE
from nas.data import open_data
from nas.methods.supernet.population import Population, population_tree
from nas.methods.supernet.scorer import SupernetScorer
from nas.networks.supernet import Supernet
from nas.ops import Shape
from nas.run import atomic_write
from nas.sampling.budget_sampler import BudgetSampler
from nas.training import Recipe

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance

RESULTS = Path(__file__).resolve().parents[2] / "results" / "prefix-tree"
COMMAND = "OMP_NUM_THREADS=1 python experiments/prefix-tree/measure.py"
SIZE, REPEATS = 16, 3
SPACE = nas.load_space("coatnet-small").adapted(channels=1)
SAMPLER = BudgetSampler(SPACE, [nas.Budget.parse("5MFLOPs")], min_share=0.75)


def at_random(rng: random.Random) -> Architecture:
    return SAMPLER.sample(rng).architecture


def evolved(parents: list[Architecture]) -> Callable[[random.Random], Architecture]:
    def child(rng: random.Random) -> Architecture:
        first, second = rng.sample(parents, 2)
        return SPACE.mutate(first, rng) if rng.random() < 0.5 else SPACE.crossover(first, second, rng)

    return child


def sweep(parent: Architecture, stages: int) -> Callable[[random.Random], Architecture]:
    """Members that differ from a network in its last stages alone."""
    fixed = len(parent.stages) - stages

    def other(rng: random.Random) -> Architecture:
        while True:
            drawn = SAMPLER.sample(rng).architecture
            kept, new = SPACE.encode(parent), SPACE.encode(drawn)
            mixed = type(kept)(kept.stem, (*kept.stages[:fixed], *new.stages[fixed:]))
            if SPACE.valid(mixed):
                return SPACE.decode(mixed)

    return other


def population(draw: Callable[[random.Random], Architecture]) -> list[Architecture]:
    rng, found = random.Random(1), {}
    for _ in range(2000):
        each = draw(rng)
        found[each.digest] = each
        if len(found) == SIZE:
            return list(found.values())
    raise AssertionError(f"only {len(found)} different networks")


def parts(architecture: Architecture) -> list[int]:
    """Multiply-adds of the stem, every transition and layer, and the head, as `Supernet.path` goes through them."""
    size = architecture.input.resolution
    shape, found = Shape(architecture.input.channels, size, size), []

    def add(*blocks: object) -> None:
        nonlocal shape
        macs = 0
        for block in blocks:
            counted = TABLE.block(block, shape)  # type: ignore[arg-type]
            macs, shape = macs + counted.macs, Shape(*counted.shape)
        found.append(macs)

    add(architecture.stem)
    for stage in architecture.stages:
        if stage.transition:
            add(stage.transition)
        for layer in stage.layers:
            add(*layer.branches)
    add(architecture.head)
    return found


def unique(root: Population, supernet: Supernet, networks: list[Architecture]) -> int:
    seen: dict[int, int] = {}
    for network in networks:
        node = root
        for (_, module), macs in zip(supernet.path(network), parts(network), strict=True):
            node = node.branches[module]
            seen[id(node)] = macs
    return sum(seen.values())


def main() -> None:
    torch.set_num_threads(1)
    data = open_data("digits").load(resolution=32, seed=0)
    supernet = Supernet(SPACE, seed=0, choices=SAMPLER.feasible_choices())
    scorer = SupernetScorer(supernet, data, Recipe(epochs=1), recalibration_images=512, validation_images=256)
    rng = random.Random(0)
    parents = [at_random(rng) for _ in range(4)]
    draws = {
        "random": at_random,
        "evolved": evolved(parents),
        "last two stages": sweep(parents[0], 2),
        "last stage": sweep(parents[0], 1),
    }
    rows = {}
    for name, draw in draws.items():
        networks = population(draw)
        total = sum(sum(parts(network)) for network in networks)
        times: dict[str, list[float]] = {"alone": [], "together": []}
        for _ in range(REPEATS):
            began = time.process_time()
            alone = [scorer.score(network) for network in networks]
            times["alone"].append(time.process_time() - began)
            began = time.process_time()
            together = scorer.score_many(networks)
            times["together"].append(time.process_time() - began)
            assert together == alone
        mac_ratio = total / unique(population_tree(supernet, networks), supernet, networks)
        time_ratio = statistics.median(times["alone"]) / statistics.median(times["together"])
        rows[name] = {
            "mac_ratio": round(mac_ratio, 3),
            "time_ratio": round(time_ratio, 3),
            "share": round(time_ratio / mac_ratio, 3),
            "cpu_seconds_alone": round(statistics.median(times["alone"]), 2),
            "cpu_seconds_together": round(statistics.median(times["together"]), 2),
        }
        print(name, rows[name], flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    summary = {**provenance(COMMAND), "networks": SIZE, "n": REPEATS, "populations": rows}
    atomic_write(RESULTS / "summary.json", json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
