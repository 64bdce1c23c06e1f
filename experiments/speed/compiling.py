"""CPU seconds of a training step, eager and compiled by torch.compile, in turn; see README.md."""

from __future__ import annotations

import argparse
import json
import random
import resource
import shlex
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch

import nas
from nas.architecture import Architecture
from nas.run import atomic_write
from nas.spaces import catalog
from nas.training import Recipe, fresh_network
from nas.training.compiling import compiled
from nas.training.recipe import make_optimizer
from nas.training.standalone import training_step

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

RESULTS = Path(__file__).resolve().parents[2] / "results" / "speed"
CASES = {"coatnet-small member": (32, 64), "tf_efficientnet_lite0": (160, 32)}
"""Image side and batch size, by the network."""


def network_of(name: str) -> Architecture:
    """A member of coatnet-small with attention in its last stages and about 5 MMACs, or a network of the zoo."""
    if name in catalog.zoo_names():
        return nas.load_architecture(name)
    space, rng = nas.load_space("coatnet-small"), random.Random(0)
    drawn = [space.decode(space.sample_genotype(rng, "CCAA")) for _ in range(50)]
    return min(drawn, key=lambda each: abs(nas.cost(each).macs - 5e6))


def cpu_seconds() -> float:
    """Of this process and of the compilers that it has started and that have ended."""
    mine, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return mine.ru_utime + mine.ru_stime + others.ru_utime + others.ru_stime


def measure(name: str, pairs: int) -> dict[str, Any]:
    side, batch = CASES[name]
    architecture = network_of(name).at_resolution(side).with_classes(10)
    recipe = Recipe(epochs=1, batch_size=batch)
    images = torch.randn(batch, architecture.input.channels, side, side)
    labels = torch.randint(0, 10, (batch,))
    steps: dict[str, Any] = {}
    spent: dict[str, list[float]] = {"eager": [], "compiled": []}
    first: dict[str, float] = {}
    for way in spent:
        network = fresh_network(architecture, seed=0)
        run = compiled(network) if way == "compiled" else None
        step, optimizer = training_step(network, recipe, run=run), make_optimizer(network, recipe)

        def one(step: Any = step, optimizer: Any = optimizer, network: Any = network) -> None:
            step(images, labels, 0)
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()

        began = cpu_seconds()
        one()
        first[way] = cpu_seconds() - began
        one()
        steps[way] = one
    for number in range(pairs):
        for way in sorted(spent, reverse=number % 2 == 1):
            began = time.process_time()
            steps[way]()
            spent[way].append(time.process_time() - began)
    ratios = [eager / other for eager, other in zip(spent["eager"], spent["compiled"], strict=True)]
    low, _, high = quantiles(ratios, n=4)
    gain = median(spent["eager"]) - median(spent["compiled"])
    compiling = first["compiled"] - first["eager"]
    return {
        "network": name, "side": side, "batch": batch, "pairs": pairs, "eager_s": median(spent["eager"]),
        "compiled_s": median(spent["compiled"]), "ratio": median(ratios), "ratio_q25": low, "ratio_q75": high,
        "compiling_s": compiling, "steps_to_gain": round(compiling / gain) if gain > 0 else None,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--networks", nargs="+", default=list(CASES), choices=list(CASES))
    asked = parser.parse_args()
    pairs = asked.pairs
    torch.set_num_threads(1)
    rows = []
    for name in asked.networks:
        rows.append(measure(name, pairs))
        print(rows[-1], flush=True)
        write_rows(RESULTS / "compiling.csv", rows)
    told = provenance(shlex.join(["python", *sys.argv]))
    atomic_write(RESULTS / "compiling.json", json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
