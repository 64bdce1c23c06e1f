"""Is the network that a search finds better than what the same time finds without one? See README.md.

    python experiments/end-to-end/run.py --data cifar10.npz --plan-only
    python experiments/end-to-end/run.py --data cifar10.npz --part 0/2 &
    python experiments/end-to-end/run.py --data cifar10.npz --part 1/2 &

Stopped, it goes on when started again. Every finished contestant is a row of `results/end-to-end/contestants.csv`.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import random
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nas
from nas.costs import layout
from nas.run import atomic_write, read_run
from nas.run.events import WinnerExported
from nas.strict_yaml import dump_yaml

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from commands import NAS, SEARCH, first_images, is_finished, plan_search, run_counted
from provenance import provenance
from tables import read_rows, write_rows

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "end-to-end"
SPACE, BUDGET, IMAGES, SIDE, SEEDS = "coatnet-small", "5MFLOPs", 10_000, "32", (0, 1, 2)
# Of every training to the end, and what a contestant may take in all: settled before anything was trained.
EPOCHS, TIME = "12", "8min"
LEAST_SHARE = 0.75
"""Of the budget, as a search's default."""
SEARCHES = {
    "calibrated": ["--method", "calibrated", "--finalists", "1"],
    "supernet": ["--method", "supernet", "--finalists", "1"],
    "blockwise": ["--method", "blockwise", "--finalists", "1"],
    # The largest by log-channels, and the largest by parameters.
    "largest": ["--method", "log_channels", "--finalists", "2"],
}
RANDOM, SAMPLED = "random", 3
COUNTED = "counted"
"""The largest that evolution had found in 256 trials, as a search took them before: rows that are not made again."""
CONTESTANTS = (*SEARCHES, COUNTED, RANDOM)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="cifar10.npz")
    parser.add_argument("--work", type=Path, default=Path("runs/end-to-end"))
    parser.add_argument("--plan-only", action="store_true", help="plan all searches and stop them: see README.md")
    parser.add_argument("--part", default="0/1", metavar="I/N", help="every N-th contestant from the I-th on, from 0")
    words = parser.parse_args()
    words.work.mkdir(parents=True, exist_ok=True)
    data = str(first_images(words.data, IMAGES, words.work))
    part, parts = map(int, words.part.split("/"))
    tasks = [(contestant, seed) for seed in SEEDS for contestant in CONTESTANTS if contestant != COUNTED]
    for contestant, seed in tasks[part::parts]:
        with kept(words.work) as rows:
            done = any(row["contestant"] == contestant and int(row["seed"]) == seed for row in rows)
        if words.plan_only:
            if not done and contestant != RANDOM:
                plan_search(words.work / f"{contestant}-{seed}", command(words.work, data, contestant, seed))
        elif not done:
            found = sampled if contestant == RANDOM else searched
            row = found(words.work, data, contestant, seed)
            with kept(words.work) as rows:
                rows.append({"contestant": contestant, "seed": seed, **row})
                rows.sort(key=lambda each: (CONTESTANTS.index(each["contestant"]), int(each["seed"])))
                write_rows(RESULTS / "contestants.csv", rows)
                atomic_write(RESULTS / "summary.json", json.dumps(summary(rows), indent=1) + "\n")
            print(json.dumps(row), flush=True)


@contextmanager
def kept(work: Path) -> Iterator[list[dict[str, Any]]]:
    """The rows so far, while no other part of the study reads or writes them."""
    with (work / "rows.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield read_rows(RESULTS / "contestants.csv")


def command(work: Path, data: str, contestant: str, seed: int) -> list[str]:
    """What starts a search, or continues it where it was stopped."""
    run = work / f"{contestant}-{seed}"
    if run.exists():
        return [*SEARCH, "--resume", str(run)]
    return [
        *SEARCH,
        *("--space", SPACE, "--budget", BUDGET, "--data", data, "--resolution", SIDE, "--train-resolution", SIDE),
        *(("--time", TIME) if contestant != "largest" else ("--trials", "24")),  # counting takes no time
        *("--finalist-epochs", EPOCHS, "--rivals", "0", "--threads", "1", "--seed", str(seed)),
        *("--no-onnx", "--out", str(run), *SEARCHES[contestant]),
    ]


def searched(work: Path, data: str, contestant: str, seed: int) -> dict[str, Any]:
    """The winner of one search by the command line, by accuracy on its validation images."""
    run = work / f"{contestant}-{seed}"
    counted = work / f"{contestant}-{seed}.cpu-seconds"
    if not is_finished(run):
        run_counted(command(work, data, contestant, seed), counted)
    record = read_run(run)
    best = min(record.events(WinnerExported), key=lambda event: event.rank)
    architecture = nas.load_architecture(run / best.path / "architecture.yaml")
    return {
        "digest": best.digest,
        "layout": layout(architecture),
        "macs": best.macs,
        "params": best.params,
        "validation": best.validation_accuracy,
        "test": best.test_accuracy,
        "trained": len(record.events(WinnerExported)),
        "planned_seconds": round(sum(record.manifest["plan"]["seconds"].values())),
        "cpu_seconds": round(float(counted.read_text())),
    }


def sampled(work: Path, data: str, contestant: str, seed: int) -> dict[str, Any]:
    """The best on validation of a few random networks, each trained as finalists are."""
    rng, budget = random.Random(f"{contestant}-{seed}"), nas.Budget.parse(BUDGET)
    found: list[dict[str, Any]] = []
    counted = work / f"{contestant}-{seed}.cpu-seconds"
    for place in range(SAMPLED):
        network = nas.sample(nas.load_space(SPACE), rng, [budget], min_share=LEAST_SHARE)
        folder = work / f"{contestant}-{seed}-{place}"
        config = work / f"{folder.name}.yaml"
        atomic_write(config, dump_yaml(network.to_dict()))
        if not (folder / "training.json").exists():
            run_counted(
                [
                    *(*NAS, "train", str(config), "--data", data, "--epochs", EPOCHS, "--train-resolution", SIDE),
                    *("--threads", "1", "--seed", str(seed), "--no-onnx", "--out", str(folder)),
                ],
                counted,
            )
        told = json.loads((folder / "training.json").read_text())
        found.append({**told, "layout": layout(network)})
    best = max(found, key=lambda each: each["search_validation_accuracy"])
    return {
        **{name: best[name] for name in ("digest", "layout", "macs", "params")},
        "validation": best["search_validation_accuracy"],
        "test": best["test_accuracy"],
        "trained": SAMPLED,
        "planned_seconds": "",
        "cpu_seconds": round(float(counted.read_text())),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and each contestant's test accuracy less that of the largest with the same seed."""
    by = {(row["contestant"], int(row["seed"])): float(row["test"]) for row in rows}

    def less(contestant: str, other: str) -> dict[str, float | None]:
        gains = [
            by[contestant, seed] - by[other, seed] for seed in SEEDS if {(contestant, seed), (other, seed)} <= set(by)
        ]
        return {
            f"less_{other}": statistics.mean(gains) if gains else None,
            f"less_{other}_error": statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else None,
        }

    found: dict[str, Any] = {}
    for contestant in CONTESTANTS:
        mine = [row for row in rows if row["contestant"] == contestant]
        if mine:
            found[contestant] = {
                "seeds": len(mine),
                "test": statistics.mean(float(row["test"]) for row in mine),
                "cpu_seconds": statistics.mean(float(row["cpu_seconds"]) for row in mine),
                **less(contestant, "largest"),
                **less(contestant, COUNTED),
            }
    return {**provenance("python experiments/end-to-end/run.py --data cifar10.npz"), "contestants": found}


if __name__ == "__main__":
    main()
