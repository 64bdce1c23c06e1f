"""Do the parts of a recipe help or hurt in one short training? See README.md.

    python experiments/recipes/run.py --data cifar10.npz --work runs/recipes

Stopped, it goes on when started again.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

import nas
from nas.data import Dataset, Split, open_data
from nas.progress import Silent
from nas.run import atomic_write
from nas.sampling import BudgetSampler
from nas.training import Recipe, evaluate, fresh_network, learning_rate_for, start_from, train_network

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

RESULTS = Path(__file__).resolve().parents[2] / "results" / "recipes"
COMMAND = "python experiments/recipes/run.py --data cifar10.npz --work runs/recipes"
IMAGES, FEW, PARENT = 3000, 600, 6000
SCRATCH: dict[str, dict[str, Any]] = {
    "plain": {},
    "ema 0.99": {"ema": 0.99},
    "mixup 0.2": {"mixup": 0.2},
    "cutmix 1": {"cutmix": 1.0},
    "randaugment 5": {"randaugment": 5},
    "resized_crop 0.4": {"resized_crop": 0.4},
    "erasing 0.25": {"erasing": 0.25},
    "drop_path 0.1": {"drop_path": 0.1},
}
TUNED: dict[str, dict[str, Any]] = {
    "parent's weights, plain": {},
    "parent's weights, rate 5e-4, layer_decay 0.85, ema, best": {
        "learning_rate": 5e-4,
        "layer_decay": 0.85,
        "ema": 0.99,
        "checkpoint": "best",
    },
    "parent's weights, rate 5e-4, ema, best": {"learning_rate": 5e-4, "ema": 0.99, "checkpoint": "best"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    words = parser.parse_args()
    torch.set_num_threads(1)
    words.work.mkdir(parents=True, exist_ok=True)
    data = open_data(words.data).load(resolution=32, seed=0, progress=Silent())
    space = nas.load_space("coatnet-small").adapted(channels=data.info.channels, num_classes=data.info.num_classes)
    sampler = BudgetSampler(space, [nas.Budget.parse("5MFLOPs")], min_share=0.9)
    architecture = sampler.sample(random.Random(1), layout="CCAA").architecture
    plain = Recipe(
        epochs=6,
        batch_size=64,
        learning_rate=learning_rate_for(nas.cost(architecture).params, 64),
        augment="crop-flip",
    )
    for seed in words.seeds:
        for name, changes in SCRATCH.items():
            study(words.work, "scratch", name, architecture, first(data, IMAGES), replace(plain, seed=seed, **changes))
        few = replace(
            plain, batch_size=32, learning_rate=learning_rate_for(nas.cost(architecture).params, 32), seed=seed
        )
        parent = words.work / "parent.safetensors"
        if not parent.exists():
            save_file(trained_parent(architecture, data, plain), parent)
        study(words.work, "finetune", "random weights, plain", architecture, first(data, FEW), few)
        for name, changes in TUNED.items():
            tuned = replace(few, **changes)
            study(words.work, "finetune", name, architecture, first(data, FEW), tuned, weights=parent)
    rows = [json.loads(path.read_text()) for path in sorted(words.work.glob("*.json"))]
    write_rows(RESULTS / "trainings.csv", rows)
    (RESULTS / "summary.json").write_text(json.dumps(provenance(COMMAND), indent=1) + "\n")


def first(data: Dataset, images: int) -> Dataset:
    return replace(data, train=data.train.first(images))


def trained_parent(architecture: nas.Architecture, data: Dataset, recipe: Recipe) -> dict[str, torch.Tensor]:
    """Returns weights that were trained on images after those that the others train on."""
    part = slice(IMAGES, IMAGES + PARENT)
    split = Split(images=data.train.images[part], labels=data.train.labels[part])
    network = fresh_network(architecture, seed=100)
    train_network(network, replace(data, train=split), replace(recipe, seed=100), progress=Silent())
    return {name: value.contiguous() for name, value in network.state_dict().items()}


def study(
    work: Path,
    kind: str,
    name: str,
    architecture: nas.Architecture,
    data: Dataset,
    recipe: Recipe,
    *,
    weights: Path | None = None,
) -> None:
    """Trains one network, unless its file is there, and writes what came of it."""
    path = work / f"{kind}-{name}-{recipe.seed}.json".replace(" ", "_")
    if path.exists():
        return
    began = time.process_time()
    network = fresh_network(architecture, seed=recipe.seed)
    if weights is not None:
        start_from(network, load_file(weights), source=str(weights))
    losses: list[float] = []
    accuracy = train_network(network, data, recipe, progress=Silent(), on_epoch=lambda row: losses.append(row["loss"]))
    row = {
        "study": kind,
        "recipe": name,
        "seed": recipe.seed,
        "images": len(data.train),
        "epochs": recipe.epochs,
        "validation": round(accuracy, 4),
        "test": round(evaluate(network, data.test, data, recipe), 4),
        "last_loss": round(losses[-1], 4),
        "cpu_seconds": round(time.process_time() - began, 1),
    }
    atomic_write(path, json.dumps(row))
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
