"""Which learning rate suits short trainings of networks of different sizes and layouts? See README.md.

    python experiments/learning-rate/run.py --data cifar10.npz --work runs/learning-rate

Stopped, it goes on when started again.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import nas
from nas.data import Dataset, open_data
from nas.progress import Silent
from nas.run import atomic_write
from nas.sampling import BudgetSampler
from nas.training import Recipe, fresh_network, train_network

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

RESULTS = Path(__file__).resolve().parents[2] / "results" / "learning-rate"
FACTORS = (1, 2, 3)
COMMAND = "python experiments/learning-rate/run.py --data cifar10.npz --work runs/learning-rate"


def former(params: int, batch_size: int) -> float:
    """The rule that `nas.training.learning_rate_for` had until this was measured."""
    return 2e-3 * math.sqrt(batch_size / 64) * min(1.0, (max(1, params) / 1e5) ** -0.3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--layouts", nargs="+", default=["CCCC", "CCCA", "CCAA", "CAAA", "AAAA"])
    words = parser.parse_args()
    torch.set_num_threads(1)
    words.work.mkdir(parents=True, exist_ok=True)
    data = open_data(words.data).load(resolution=32, seed=0, progress=Silent())
    data = replace(data, train=data.train.first(words.images))
    space = nas.load_space("coatnet-small").adapted(channels=data.info.channels, num_classes=data.info.num_classes)
    sampler = BudgetSampler(space, [nas.Budget.parse("5MFLOPs")], min_share=0.9)
    for layout in words.layouts:
        architecture = sampler.sample(random.Random(1), layout=layout).architecture
        for factor in FACTORS:
            path = words.work / f"{layout}-{factor}.json"
            if not path.exists():
                atomic_write(path, json.dumps(trained(architecture, data, layout, factor)))
                print(path.read_text(), flush=True)
    rows = [json.loads(path.read_text()) for path in sorted(words.work.glob("*.json"))]
    write_rows(RESULTS / "trainings.csv", rows)
    (RESULTS / "summary.json").write_text(json.dumps(provenance(COMMAND), indent=1) + "\n")


def trained(architecture: nas.Architecture, data: Dataset, layout: str, factor: int) -> dict[str, Any]:
    params = nas.cost(architecture).params
    rate = factor * former(params, 64)
    recipe = Recipe(epochs=6, batch_size=64, learning_rate=rate, augment="crop-flip", seed=0)
    losses: list[float] = []
    accuracy = train_network(
        fresh_network(architecture, seed=0),
        data,
        recipe,
        progress=Silent(),
        on_epoch=lambda row: losses.append(row["loss"]),
    )
    return {
        "layout": layout,
        "params": params,
        "factor": factor,
        "learning_rate": round(rate, 6),
        "images": len(data.train),
        "epochs": recipe.epochs,
        "validation": round(accuracy, 4),
        "last_loss": round(losses[-1], 4),
    }


if __name__ == "__main__":
    main()
