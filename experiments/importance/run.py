"""Which order of units leaves a smaller member of a trained network the most accurate, before any training?

    python experiments/importance/run.py --data clothing10 --parent runs/tuned

`--parent` is a folder of `nas train`. Accuracies are on search-validation, after BatchNorm recalibration.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.architecture import Architecture
from nas.budget import Budget
from nas.costs import cost
from nas.costs.derived_spaces import derive_space
from nas.data import Batches, Dataset, open_data
from nas.methods.supernet.parent import as_member, load_parent
from nas.methods.supernet.scaled import scaled
from nas.networks.inheritance.couplings import couplings, permute
from nas.networks.inheritance.filling import fill
from nas.networks.inheritance.importance import Orders, by_magnitude, by_taylor
from nas.networks.inheritance.layers import by_change, changes
from nas.networks.network import Network, build
from nas.networks.supernet import Supernet
from nas.run import atomic_write
from nas.sampling import BudgetSampler
from nas.spaces import SearchSpace
from nas.training import Recipe, evaluate
from nas.training.evaluation import recalibrate

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

ORDERS = ("magnitude", "taylor", "shuffled")
RESULTS = Path(__file__).resolve().parents[2] / "results" / "importance"
RECIPE = Recipe(epochs=1, batch_size=32)
BATCHES, BATCH, RECALIBRATED = 8, 32, 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder of class folders")
    parser.add_argument("--parent", required=True, help="a folder of nas train, trained on these images")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.9, 0.75, 0.5], help="of its multiply-adds")
    parser.add_argument("--members", type=int, default=3, help="random members of each share")
    parser.add_argument("--collect", action="store_true", help="only the means over the rows that are there")
    words = parser.parse_args()
    if not words.collect:
        measure(words)
    with (RESULTS / "members.csv").open() as file:
        rows = list(csv.DictReader(file))
    where = provenance(f"python experiments/importance/run.py --data {Path(words.data).name} --parent PARENT")
    means = {order: float(np.mean([float(row[order]) for row in rows])) for order in ORDERS}
    pairs = (("taylor", "magnitude"), ("magnitude", "shuffled"), ("taylor", "shuffled"))
    less = {f"{a} less {b}": paired([float(row[a]) - float(row[b]) for row in rows]) for a, b in pairs}
    found = {**where, "members": len(rows), "means": means, "differences": less}
    atomic_write(RESULTS / "summary.json", json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def paired(differences: list[float]) -> dict[str, float]:
    """Mean and standard error of differences between two orders of the same members."""
    return {
        "mean": float(np.mean(differences)),
        "error": float(np.std(differences, ddof=1) / len(differences) ** 0.5),
    }


def measure(words: argparse.Namespace) -> None:
    """Writes a row per member, with its accuracy in each order."""
    parent = load_parent(words.parent, None)
    side = parent.architecture.input.resolution
    data = replace(open_data(words.data).load(resolution=side, seed=0), mean=parent.mean, std=parent.std)
    space = derive_space(parent.architecture, smaller=True)
    member = as_member(parent.architecture, space)
    network = build(member).eval()
    network.load_state_dict(parent.state)
    images = Batches(data.train.first(BATCHES * BATCH), batch_size=BATCH, mean=data.mean, std=data.std)
    kept = by_change(space, changes(network, next(iter(images))[0]))
    supernets: dict[str, Supernet] = {}
    for order, state in ordered(network, member, images).items():
        supernets[order] = Supernet(space)
        fill(supernets[order], member, state, kept)
    rows: list[dict[str, Any]] = []
    for number in range(1 + words.members):
        for share in words.shares:
            small = member_of(member, share, number, space)
            told = {"share": share, "kind": "random" if number else "scaled", "digest": small.digest}
            told["macs"] = cost(small).macs
            rows.append({**told, **{order: measured(each, small, data) for order, each in supernets.items()}})
            print(rows[-1], flush=True)
            write_rows(RESULTS / "members.csv", rows)


def member_of(member: Architecture, share: float, number: int, space: SearchSpace) -> Architecture:
    """The parent scaled to a share of its multiply-adds as number 0, then random members of 95 to 100 % of that."""
    bound = Budget.parse(f"{share * cost(member).macs / 1e6:.3f}MFLOPs")
    sampler = BudgetSampler(space, [bound], min_share=0.95)
    if number:
        return sampler.sample(random.Random(number)).architecture
    found = scaled(member, sampler)
    assert found is not None
    return found


def ordered(network: Network, member: Architecture, images: Batches) -> dict[str, dict[str, torch.Tensor]]:
    """The weights of a network with its units in each of three orders, the shuffled one as a control."""
    groups, _ = couplings(member)
    parameters, rng = dict(network.named_parameters()), np.random.default_rng(0)
    orders: tuple[Orders, ...] = (
        by_magnitude(groups, parameters),
        by_taylor(groups, parameters, gradients(network, images)),
        [(group, rng.permutation(group.size)) for group in groups],
    )
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, order in zip(ORDERS, orders, strict=True):
        state = {key: value.detach().clone() for key, value in network.state_dict().items()}
        permute(state, order)
        found[name] = state
    return found


def gradients(network: Network, images: Batches) -> list[dict[str, torch.Tensor]]:
    """Of the loss of each batch, by parameter; as a search with `--importance taylor` has them."""
    found: list[dict[str, torch.Tensor]] = []
    for x, labels in images:
        network.zero_grad()
        torch.nn.functional.cross_entropy(network(x), labels).backward()
        found.append({name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None})
    network.zero_grad()
    return found


def measured(supernet: Supernet, small: Architecture, data: Dataset) -> float:
    """Accuracy on search-validation with inherited weights, after BatchNorm recalibration."""
    network = supernet.extract(small)
    recalibrate(network, data, RECIPE, images=RECALIBRATED)
    return evaluate(network, data.search_validation, data, RECIPE)


if __name__ == "__main__":
    main()
