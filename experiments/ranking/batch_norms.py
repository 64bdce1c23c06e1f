"""Whether Zen-score counts BatchNorms: both on the hybrids of equal cost; see README.md."""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

import nas
from nas.benchmark.codecs import decode
from nas.benchmark.rank_statistics import groups, partial_spearman, spearman, within_parts_spearman
from nas.data import open_data
from nas.methods.features import kinds
from nas.methods.zero_cost.proxy_cache import ProxyValues
from nas.run import atomic_write
from nas.training import fresh_network

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
RESULT, TRUTH = ROOT / "results" / "ranking" / "batch-norms.json", ROOT / "results" / "hybrid-truth" / "truth.csv"
PIXELS = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="CIFAR-10 as an .npz file")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with TRUTH.open() as file:
        rows = [row for row in csv.DictReader(file) if row["group"] == "band"]
    networks = decode(nas.load_space("coatnet-small"), tuple(row["architecture"] for row in rows), str(TRUTH))
    truth = np.array([float(row["test_accuracy"]) for row in rows])
    values = ProxyValues(open_data(asked.data).load(resolution=PIXELS, seed=0))
    zen = np.array([values.value("zen", each) for each in networks])
    norms = np.array([float(batch_norms(fresh_network(each, seed=0))) for each in networks])
    layouts = groups([kinds(each) for each in networks])
    found = {
        "zen with accuracy": spearman(zen, truth),
        "BatchNorms with accuracy": spearman(norms, truth),
        "zen with BatchNorms": spearman(zen, norms),
        "zen with accuracy, given BatchNorms": partial_spearman(zen, truth, norms),
        "zen with accuracy, mean inside layouts": within_parts_spearman(zen, truth, layouts),
        "BatchNorms with accuracy, mean inside layouts": within_parts_spearman(norms, truth, layouts),
    }
    per_layout = {kinds(networks[part[0]]): statistics.mean(norms[part]) for part in layouts}
    summary = {
        **provenance("python experiments/ranking/batch_norms.py --data cifar10.npz"),
        "networks": len(networks),
        "spearman": {name: round(value, 4) for name, value in found.items()},
        "mean BatchNorms of a layout": {name: round(value, 1) for name, value in sorted(per_layout.items())},
    }
    atomic_write(RESULT, json.dumps(summary, indent=1) + "\n")


def batch_norms(network: nn.Module) -> int:
    """How many BatchNorms a network has."""
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


if __name__ == "__main__":
    main()
