"""True accuracies of coatnet-small's members on CIFAR-10: the table that rankings of hybrids are held against.

    python experiments/hybrid-truth/run.py --data cifar10.npz --work runs/hybrid-truth [--part 0/2] [--threads 1]
    python experiments/hybrid-truth/run.py --work runs/hybrid-truth --collect

Several processes may share the work, each with its own `--part i/n`. Stopped, each goes on from its last checkpoint
when started again. `--collect` writes `results/hybrid-truth/`.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import nas
from nas.architecture import Architecture
from nas.benchmark.rank_statistics import spearman
from nas.data import Dataset, Split, open_data
from nas.data.assembly import statistics_of
from nas.progress import Silent
from nas.run import atomic_write
from nas.training import Recipe, evaluate, fresh_network, train_network

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "hybrid-truth"
# Drawn once, before any accuracy was seen (README.md); a file, since draws may change with versions.
MEMBERS = Path(__file__).with_name("members.jsonl")
RECIPE = {"epochs": 5, "batch_size": 64, "learning_rate": 2e-3, "augment": "crop-flip"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One training: a member, by which draw it came, and the seed of its weights and batches."""

    architecture: Architecture
    layout: str
    group: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.architecture.digest}-{self.seed}"


def tasks() -> list[Task]:
    """Every training, the most useful first: the band, the band again with another seed, then the wider range."""
    rows = [json.loads(line) for line in MEMBERS.read_text().splitlines()]
    found = {
        group: [
            Task(architecture=Architecture.from_dict(row["architecture"]), layout=row["layout"], group=group, seed=0)
            for row in rows
            if row["group"] == group
        ]
        for group in ("band", "wide")
    }
    return [*found["band"], *(replace(task, seed=1) for task in found["band"]), *found["wide"]]


def whole_training_set(path: Path, *, resolution: int = 32) -> Dataset:
    """CIFAR-10 with all 25,000 images for training: nothing is chosen here, so nothing is held out."""
    data = open_data(str(path)).load(resolution=resolution, seed=0)
    images = torch.cat([data.train.images, data.search_validation.images]).contiguous(memory_format=torch.channels_last)
    labels = torch.cat([data.train.labels, data.search_validation.labels])
    mean, std = statistics_of(images, name=data.info.name)
    return replace(data, train=Split(images=images, labels=labels), mean=mean, std=std)


def train(task: Task, data: Dataset, work: Path, place: str) -> None:
    """Trains and tests one member, unless its result is there."""
    result = work / "members" / f"{task.name}.json"
    if result.exists():
        return
    began, cpu = time.monotonic(), time.process_time()
    recipe = Recipe(**RECIPE, seed=task.seed)  # type: ignore[arg-type]
    network = fresh_network(task.architecture, seed=task.seed)
    folder = work / "checkpoints" / task.name
    history: list[dict[str, float]] = []
    train_network(network, data, recipe, progress=Silent(), folder=folder, on_epoch=history.append)
    accuracy = evaluate(network, data.test, data, recipe)
    cost = nas.cost(task.architecture)
    row = {
        "digest": task.architecture.digest,
        "layout": task.layout,
        "group": task.group,
        "seed": task.seed,
        "macs": cost.macs,
        "params": cost.params,
        "test_accuracy": accuracy,
        "last_loss": history[-1]["loss"] if history else None,
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "recipe": recipe.to_dict(),
        "architecture": task.architecture.to_dict(),
        **provenance("python experiments/hybrid-truth/run.py"),
    }
    result.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(result, json.dumps(row) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    took = time.monotonic() - began
    print(
        f"{place} {task.layout} {cost.macs / 1e6:.2f} MMACs seed {task.seed}: {accuracy:.4f} in {took:.0f} s",
        flush=True,
    )


def collect(work: Path) -> None:
    """Writes the table of all trainings that are done, and what two seeds agree to."""
    rows = [json.loads(path.read_text()) for path in sorted((work / "members").glob("*.json"))]
    order = {task.name: i for i, task in enumerate(tasks())}
    rows.sort(key=lambda row: order[f"{row['digest']}-{row['seed']}"])
    RESULTS.mkdir(parents=True, exist_ok=True)
    names = ["digest", "layout", "group", "seed", "macs", "params", "test_accuracy", "last_loss", "cpu_seconds"]
    with (RESULTS / "trainings.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, "architecture"])
        for row in rows:
            packed = json.dumps(row["architecture"], separators=(",", ":"))
            writer.writerow([*(row[name] for name in names), packed])
    by_digest: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_digest.setdefault(row["digest"], []).append(row)
    with (RESULTS / "truth.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["digest", "layout", "group", "macs", "params", "seeds", "test_accuracy", "architecture"])
        for digest, found in by_digest.items():
            first, accuracy = found[0], sum(row["test_accuracy"] for row in found) / len(found)
            packed = json.dumps(first["architecture"], separators=(",", ":"))
            cells = [first[name] for name in ("layout", "group", "macs", "params")]
            writer.writerow([digest, *cells, len(found), f"{accuracy:.5f}", packed])
    both = [sorted(found, key=lambda row: row["seed"]) for found in by_digest.values() if len(found) == 2]
    pairs = [(a["test_accuracy"], b["test_accuracy"]) for a, b in both]
    # Two averages of two seeds agree better than two seeds do: Spearman and Brown's formula.
    rho = spearman(*map(list, zip(*pairs, strict=True))) if len(pairs) > 2 else None
    summary = {
        "trainings": len(rows),
        "of": len(order),
        "members": len(by_digest),
        "with_two_seeds": len(pairs),
        "seed_to_seed_spearman": rho,
        "expected_spearman_of_two_means": None if rho is None else 2 * rho / (1 + rho),
        "cpu_hours": round(sum(row["cpu_seconds"] for row in rows) / 3600, 2),
        "recipe": rows[0]["recipe"] if rows else None,
        "made_by": sorted({f"{row['commit']}, torch {row['torch']}, {row['hardware']}" for row in rows}),
        "command": "python experiments/hybrid-truth/run.py --data cifar10.npz --work runs/hybrid-truth",
    }
    (RESULTS / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/hybrid-truth"))
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--collect", action="store_true")
    args = parser.parse_args()
    if args.collect:
        collect(args.work)
        return
    torch.set_num_threads(args.threads)
    part, parts = map(int, args.part.split("/"))
    todo = tasks()
    data = whole_training_set(args.data)
    for index, task in enumerate(todo):
        if index % parts == part:
            train(task, data, args.work, f"{index + 1}/{len(todo)}")


if __name__ == "__main__":
    main()
