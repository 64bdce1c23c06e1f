"""Is the network that a calibrated search finds better than what the same effort finds without it? See README.md.

    OMP_NUM_THREADS=1 python experiments/end-to-end/run.py --data cifar10.npz --work runs/end-to-end
    python experiments/end-to-end/run.py --work runs/end-to-end --collect

Stopped, it goes on when started again. `--collect` writes `results/end-to-end/`.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

import nas
from nas.architecture import Architecture
from nas.data import Dataset
from nas.methods.counted import COUNTS
from nas.pipeline.search import resume, search
from nas.progress import Silent
from nas.run import atomic_write, read_run
from nas.run.events import RunFinished
from nas.sampling.budget_sampler import BudgetSampler
from nas.trial import Trial

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from studies import script
from tables import write_rows

ROOT = Path(__file__).resolve().parents[2]
RESULTS, TRUTH = ROOT / "results" / "end-to-end", ROOT / "results" / "hybrid-truth"
COMMAND = "python experiments/end-to-end/run.py --data cifar10.npz --work runs/end-to-end"
SPACE, BUDGET, LEAST, SEEDS, IMAGES = "coatnet-small", "5.25MFLOPs", 4.75e6, (0, 1, 2), 10_000
# The truth's band, within 5 % of 5 million multiply-adds.
AIM = LEAST / 5.25e6
# Finalists are left to the recipe that all share. As many trials as keep set-up, search and the winner's training
# within about three trainings; settled before any accuracy was seen.
OPTIONS: dict[str, Any] = {"method": "calibrated", "calibration_epochs": 1, "finalists": 1, "finalist_epochs": 1}
TRIALS = 96
COUNTED = ("log_channels", "convolutions", "params", "channels")
CHOSEN_BY, TOLD_BY = 0, 1
"""Seeds of the hybrid truth: random search chooses by the first, and its winner is told by the second."""


hybrid_truth, ranking, cifar_search = script("hybrid-truth"), script("ranking"), script("cifar-search")


class Clock(Silent):
    """Keeps the CPU seconds of a search on disk, by phase, over all its sittings."""

    def __init__(self, path: Path) -> None:
        self._path, self._phase, self._last = path, "set-up", time.process_time()
        self.spent: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

    def start(self, phase: str, total: int, unit: str) -> None:
        self.keep()
        self._phase = phase.split()[0]

    def advance(self, n: int = 1, **figures: str | float | int) -> None:
        if time.process_time() - self._last > 5:
            self.keep()

    def finish(self) -> None:
        self.keep()
        self._phase = "between"

    def note(self, text: str) -> None:
        print(text, flush=True)

    def keep(self) -> None:
        now = time.process_time()
        self.spent[self._phase] = self.spent.get(self._phase, 0.0) + now - self._last
        self._last = now
        atomic_write(self._path, json.dumps(self.spent))


def searched(asked: argparse.Namespace, seed: int) -> tuple[list[Trial], dict[str, float]]:
    """The trials of the search with one seed, done or gone on with, and its CPU seconds by phase."""
    folder = asked.work / f"search-{seed}"
    clock = Clock(asked.work / f"search-{seed}.cpu.json")
    space, budget = nas.load_space(SPACE), nas.Budget.parse(BUDGET)
    if not (folder / "events.jsonl").exists():
        data = ranking.first_images(asked.data, IMAGES, asked.work)
        options = nas.SearchOptions.of(
            space=SPACE,
            seed=seed,
            min_share=AIM,
            trials=asked.trials,
            threads=1,
            onnx=False,
            out=str(folder),
            **OPTIONS,
        )
        search(space, budgets=[budget], data=str(data), options=options, progress=clock)
        clock.keep()
    elif read_run(folder).last(RunFinished) is None:
        resume(folder, progress=clock)
        clock.keep()
    return read_run(folder).trials(), clock.spent


def best_scored(trials: list[Trial]) -> Architecture:
    """The network with the best score, the first among equals."""
    return max((t for t in trials if t.score is not None), key=lambda t: (t.score, -t.number)).architecture


def best_counted(name: str, count: int, seed: int) -> Architecture:
    """Of so many random feasible members, the one with the most of what a baseline counts."""
    sampler = BudgetSampler(nas.load_space(SPACE), [nas.Budget.parse(BUDGET)], min_share=AIM)
    rng = random.Random(f"m-{seed}")
    found: dict[str, Architecture] = {}
    while len(found) < count:
        drawn = sampler.draw(rng).architecture
        found[drawn.digest] = drawn
    members = list(found.values())
    return max(members, key=COUNTS[name])


def coatnet_shaped() -> Architecture:
    """The member nearest to CoAtNet-0's proportions, as `experiments/cifar-search` chooses it."""
    space = nas.load_space(SPACE)
    return cifar_search.coatnet_shaped(space, BudgetSampler(space, [nas.Budget.parse(BUDGET)], min_share=AIM))


def known_trainings(folder: Path | None) -> dict[str, dict[str, Any]]:
    """Trainings of the hybrid truth, by digest and seed: those committed, and those of its work folder."""
    with (TRUTH / "trainings.csv").open() as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for row in rows:
        row["architecture"] = json.loads(row["architecture"])
    rows += [json.loads(path.read_text()) for path in sorted((folder / "members").glob("*.json"))] if folder else []
    for row in rows:
        row |= {"seed": int(row["seed"]), "macs": int(row["macs"]), "params": int(row["params"])}
        row |= {name: float(row[name]) for name in ("test_accuracy", "cpu_seconds")}
    return {f"{row['digest']}-{row['seed']}": row for row in rows}


def band(known: dict[str, dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The truth's trainings of networks in range with one seed, in an order that no accuracy settles."""
    found = [row for row in known.values() if row["group"] == "band" and row["seed"] == seed]
    return sorted(found, key=lambda row: row["digest"])


def random_search(known: dict[str, dict[str, Any]], count: int, seed: int) -> Architecture:
    """The best of so many random members of the truth's band by their first training."""
    drawn = random.Random(f"random-{seed}").sample(band(known, CHOSEN_BY), count)
    return Architecture.from_dict(max(drawn, key=lambda row: row["test_accuracy"])["architecture"])


def affordable(spent: dict[str, float], price: float) -> int:
    """Trainings that cost what a search and the training of its winner do, rounded up."""
    return math.ceil((sum(spent.values()) + price) / price)


def note(asked: argparse.Namespace, name: str, seed: int, architecture: Architecture) -> int:
    """Keeps who a contestant of a seed is; the seed that it is trained with."""
    used = TOLD_BY if name == "random" else seed
    told = {"contestant": name, "seed": seed, "trained_with": used, "digest": architecture.digest}
    path = asked.work / "contestants" / f"{name}-{seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps({**told, "architecture": architecture.to_dict()}))
    return used


def train(asked: argparse.Namespace, name: str, seed: int, architecture: Architecture, data: Dataset) -> None:
    """Trains a contestant of a seed unless that has been done, here or for the truth."""
    used = note(asked, name, seed, architecture)
    if f"{architecture.digest}-{used}" in known_trainings(asked.truth):
        print(f"{name}, seed {seed}: known from the hybrid truth", flush=True)
        return
    layout = nas.load_space(SPACE)
    layout = layout.layout(layout.encode(architecture))
    task = hybrid_truth.Task(architecture=architecture, layout=layout, group="end-to-end", seed=used)
    hybrid_truth.train(task, data, asked.work, f"{name}, seed {seed}:")


def compete(asked: argparse.Namespace) -> None:
    """Everything of one seed, then of the next; what is wanted beside it comes last."""
    torch.set_num_threads(1)
    atomic_write(asked.work / "made.json", json.dumps(provenance(COMMAND)))
    data, price = hybrid_truth.whole_training_set(asked.data), ranking.training_seconds("hybrid", asked.work)
    found = {}
    for seed in SEEDS:
        found[seed] = trials, _ = searched(asked, seed)
        train(asked, "calibrated", seed, best_scored(trials), data)
        train(asked, "coatnet", seed, coatnet_shaped(), data)
        train(asked, COUNTED[0], seed, best_counted(COUNTED[0], len(trials), seed), data)
    for name in COUNTED[1:]:
        for seed, (trials, _) in found.items():
            train(asked, name, seed, best_counted(name, len(trials), seed), data)
    # Last, since the truth may have trained them by then.
    for seed, (_, spent) in found.items():
        known = known_trainings(asked.truth)
        train(asked, "random", seed, random_search(known, affordable(spent, price), seed), data)


def collect(asked: argparse.Namespace) -> None:
    """Writes `contestants.csv` and `summary.json` of all that is done."""
    known, price = known_trainings(asked.truth), ranking.training_seconds("hybrid", asked.work)
    here = {path.stem: json.loads(path.read_text()) for path in (asked.work / "members").glob("*.json")}
    costs = {
        seed: json.loads(path.read_text())
        for seed in SEEDS
        if (path := asked.work / f"search-{seed}.cpu.json").exists()
        and read_run(asked.work / f"search-{seed}").last(RunFinished) is not None
    }
    for seed, spent in costs.items():
        # Who random search finds follows from what a search cost; the truth may know it already.
        note(asked, "random", seed, random_search(known, affordable(spent, price), seed))
    rows: list[dict[str, Any]] = []
    for path in sorted((asked.work / "contestants").glob("*.json")):
        told = json.loads(path.read_text())
        key = f"{told['digest']}-{told['trained_with']}"
        done = known.get(key) or here.get(key)
        if done is None:
            continue
        row = {name: told[name] for name in ("contestant", "seed", "digest", "trained_with")}
        row |= {name: done[name] for name in ("layout", "macs", "params", "test_accuracy", "cpu_seconds")}
        row["from"] = "hybrid-truth" if key in known else "here"
        rows.append({**row, "architecture": json.dumps(told["architecture"], separators=(",", ":"))})
    write_rows(RESULTS / "contestants.csv", rows)
    summary = {
        **json.loads((asked.work / "made.json").read_text()),
        "recipe": {**hybrid_truth.RECIPE, "images": 25_000},
        "contestants": worth(rows),
        "calibrated_less": differences(rows),
        "search": [cost(seed, spent, price, known) for seed, spent in costs.items()],
        "training_cpu_seconds": round(price, 1),
        "truth_band": {f"seed {seed}": spread([row["test_accuracy"] for row in band(known, seed)]) for seed in (0, 1)},
    }
    atomic_write(RESULTS / "summary.json", json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary, indent=1))


def worth(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread of each contestant's test accuracies over seeds."""
    accuracies: dict[str, list[float]] = {}
    for row in rows:
        accuracies.setdefault(row["contestant"], []).append(row["test_accuracy"])
    return {name: spread(values) for name, values in accuracies.items()}


def differences(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By how much the searched network is better than each other contestant, seed by seed."""
    found = {(row["contestant"], row["seed"]): row["test_accuracy"] for row in rows}
    pairs: dict[str, list[float]] = {}
    for (name, seed), accuracy in found.items():
        if name != "calibrated" and ("calibrated", seed) in found:
            pairs.setdefault(name, []).append(found["calibrated", seed] - accuracy)
    return {name: {**spread(values), "wins": sum(value > 0 for value in values)} for name, values in pairs.items()}


def spread(values: list[float]) -> dict[str, Any]:
    """Mean, standard deviation, extremes and number."""
    deviation = round(statistics.stdev(values), 4) if len(values) > 1 else None
    if not values:
        return {"n": 0}
    ends = {"least": round(min(values), 4), "most": round(max(values), 4)}
    return {"mean": round(statistics.mean(values), 4), "sd": deviation, **ends, "n": len(values)}


def cost(seed: int, spent: dict[str, float], price: float, known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What a search took, how many trainings that pays for, and what random search may expect of them."""
    count = affordable(spent, price)
    return {
        "seed": seed,
        "cpu_seconds": {phase: round(seconds, 1) for phase, seconds in spent.items()},
        "with_training_in_trainings": round((sum(spent.values()) + price) / price, 2),
        "random_members": count,
        "random_expected": expected(known, count),
    }


def expected(known: dict[str, dict[str, Any]], count: int) -> dict[str, Any]:
    """The mean over all draws of so many members, the best by the first seed.

    Told by the second seed, of members that have both; and by the first itself, which chose it and so flatters it.
    """
    first = {row["digest"]: row["test_accuracy"] for row in band(known, CHOSEN_BY)}
    second = {row["digest"]: row["test_accuracy"] for row in band(known, TOLD_BY)}
    both = [digest for digest in first if digest in second]
    return {
        "test_accuracy": mean_of_best(first, second, both, count),
        "members": len(both),
        "flattered": mean_of_best(first, first, list(first), count),
        "flattered_members": len(first),
    }


def mean_of_best(first: dict[str, float], told: dict[str, float], members: list[str], count: int) -> float | None:
    """What the best of so many members drawn, by their first accuracies, is told to have, over all draws."""
    if len(members) < count:
        return None
    ordered = sorted(members, key=lambda digest: -first[digest])
    # The network in place i is the best drawn where all others come from behind it.
    ways = [math.comb(len(ordered) - i - 1, count - 1) for i in range(len(ordered))]
    return round(sum(way * told[digest] for way, digest in zip(ways, ordered, strict=True)) / sum(ways), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="CIFAR-10 as an .npz file of 25,000 training images")
    parser.add_argument("--work", type=Path, default=Path("runs/end-to-end"))
    parser.add_argument("--truth", type=Path, help="work folder of the hybrid truth, for what is not collected yet")
    parser.add_argument("--collect", action="store_true")
    parser.add_argument("--trials", type=int, default=TRIALS, help="fewer to try the script")
    parser.add_argument("--epochs", type=int, default=hybrid_truth.RECIPE["epochs"], help="fewer to try the script")
    asked = parser.parse_args()
    hybrid_truth.RECIPE["epochs"] = asked.epochs
    if asked.collect:
        collect(asked)
    elif asked.data is None:
        parser.error("--data is missing")
    else:
        asked.work.mkdir(parents=True, exist_ok=True)
        compete(asked)


if __name__ == "__main__":
    main()
