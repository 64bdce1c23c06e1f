"""Trains networks of every layout, at equal multiply-adds, on data sets where a hybrid might win. See README.md.

    python experiments/hybrid-wins/run.py --images DIR [--tasks cue] [--members 3] [--phases pilot final]
    python experiments/hybrid-wins/run.py --summary

Every training is a row of `results/hybrid-wins/trainings.csv`, appended when it is over; those that are there are not
repeated, and one that was stopped goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import nas
from nas.architecture import Architecture
from nas.data import Dataset, Split, open_data
from nas.data.assembly import statistics_of
from nas.networks.network import Network
from nas.progress import Silent
from nas.training import Recipe, evaluate, fresh_network, train_network
from nas.training.loop import Step, TrainingLoop
from nas.training.recipe import learning_rate_for

# Shared by all experiments, one folder up; the composer lies beside this file.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from compose import COMPOSERS, COUNTS, SIZE, compose
from provenance import provenance

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parents[1] / "results" / "hybrid-wins"
TRAININGS = RESULTS / "trainings.csv"
TASKS = (*COMPOSERS, "distilled")
LAYOUTS, HYBRIDS, PURE = ("CCCC", "CCCA", "CCAA", "CAAA", "AAAA"), ("CCCA", "CCAA", "CAAA"), ("CCCC", "AAAA")
EPOCHS, BATCH_SIZE, PILOT_SEED, FINAL_SEEDS = 8, 64, 0, (1, 2, 3)
DISTILLED_EPOCHS, TEMPERATURE = 2, 2.0
COMMAND = "python experiments/hybrid-wins/run.py --images DIR"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One row: a member on a task. The test images are read in the phase "final" alone."""

    task: str
    phase: str
    layout: str
    number: int
    seed: int

    @property
    def key(self) -> tuple[str, ...]:
        return self.task, self.phase, self.layout, str(self.number), str(self.seed)


def members() -> dict[tuple[str, int], Architecture]:
    """The members by layout and number, sampled before any was trained."""
    rows = [json.loads(line) for line in (HERE / "members.jsonl").read_text().splitlines()]
    return {(row["layout"], row["number"]): Architecture.from_dict(row["architecture"]) for row in rows}


def finished() -> list[Row]:
    if not TRAININGS.exists():
        return []
    with TRAININGS.open(newline="") as file:
        return [
            {**row, "number": int(row["number"]), "validation_accuracy": float(row["validation_accuracy"])}
            for row in csv.DictReader(file)
        ]


def append(row: Row) -> None:
    is_new = not TRAININGS.exists()
    TRAININGS.parent.mkdir(parents=True, exist_ok=True)
    with TRAININGS.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def data_of(task: str, images: Path, work: Path) -> Dataset:
    """A task's images, divided as they were composed: no source image is in two parts."""
    name = "cue" if task == "distilled" else task
    path = work / f"{name}.npz"
    compose(name, images, path)
    with np.load(path) as archive:
        x, y = archive["x_train"], archive["y_train"]
        x_test, y_test = archive["x_test"], archive["y_test"]
    n = COUNTS["train"]
    train, validation, test = split(x[:n], y[:n]), split(x[n:], y[n:]), split(x_test, y_test)
    center, spread = statistics_of(train.images, name=name)
    return Dataset(
        info=replace(open_data(str(path)).info, train_count=n, validation_count=len(validation)),
        resolution=SIZE,
        train=train,
        search_validation=validation,
        test=test,
        mean=center,
        std=spread,
    )


def split(images: np.ndarray, labels: np.ndarray) -> Split:
    """Images uint8 (N, 48, 48, 3) and labels (N,) as a split."""
    return Split(images=torch.from_numpy(images).permute(0, 3, 1, 2), labels=torch.from_numpy(labels))


def network_of(architecture: Architecture, data: Dataset, seed: int) -> Network:
    return fresh_network(architecture.with_classes(data.info.num_classes), seed=seed)


def distill(network: Network, teacher: Network, data: Dataset, recipe: Recipe) -> None:
    """Trains the network to match the teacher's logits, as a start."""
    teacher.eval()

    def step(images: torch.Tensor, labels: torch.Tensor, _: int) -> float:
        network.train()
        network.zero_grad(set_to_none=True)
        with torch.no_grad():
            goal = F.log_softmax(teacher(images) / TEMPERATURE, 1)
        found = F.log_softmax(network(images) / TEMPERATURE, 1)
        loss = F.kl_div(found, goal, reduction="batchmean", log_target=True) * TEMPERATURE**2
        loss.backward()
        return loss.item()

    typed: Step = step
    TrainingLoop(network, data, replace(recipe, epochs=DISTILLED_EPOCHS), typed).run(Silent(), lambda *_: None)


def teacher_of(data: Dataset, work: Path) -> Network:
    """The trained C-C-C-C member of `cue` that validation puts first."""
    rows = [row for row in finished() if (row["task"], row["phase"], row["layout"]) == ("cue", "pilot", "CCCC")]
    best = max(rows, key=lambda row: row["validation_accuracy"])
    network = network_of(members()["CCCC", best["number"]], data, PILOT_SEED)
    network.load_state_dict(torch.load(work / "teachers" / f"{best['number']}.pt", weights_only=True))
    return network


def train(training: Training, data: Dataset, work: Path) -> None:
    architecture, cpu = members()[training.layout, training.number], time.process_time()
    cost = nas.cost(architecture)
    rate = learning_rate_for(cost.params, BATCH_SIZE)
    recipe = Recipe(epochs=EPOCHS, batch_size=BATCH_SIZE, learning_rate=rate, augment="crop-flip", seed=training.seed)
    network = network_of(architecture, data, training.seed)
    folder = work / "checkpoints" / "-".join(training.key)
    if training.task == "distilled" and not any(folder.glob("step-*")):  # else it goes on from its checkpoint
        distill(network, teacher_of(data, work), data, recipe)
    losses: list[float] = []
    validation = train_network(
        network, data, recipe, progress=Silent(), folder=folder, on_epoch=lambda row: losses.append(row["loss"])
    )
    if (training.task, training.phase, training.layout) == ("cue", "pilot", "CCCC"):
        kept = work / "teachers" / f"{training.number}.pt"
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), kept)
    source = provenance(COMMAND)
    row = {
        "task": training.task,
        "phase": training.phase,
        "layout": training.layout,
        "number": training.number,
        "seed": training.seed,
        "validation_accuracy": f"{validation:.4f}",
        "test_accuracy": f"{evaluate(network, data.test, data, recipe):.4f}" if training.phase == "final" else "",
        "last_loss": f"{losses[-1]:.4f}" if losses else "",
        "macs": cost.macs,
        "params": cost.params,
        "learning_rate": f"{rate:.2e}",
        "epochs": EPOCHS,
        "cpu_seconds_since_last_start": round(time.process_time() - cpu, 1),
        "commit": source["commit"],
        "torch": source["torch"],
    }
    append(row)
    shutil.rmtree(folder, ignore_errors=True)
    print(*row.values(), flush=True)


def pilots(task: str) -> list[Row]:
    return [row for row in finished() if row["task"] == task and row["phase"] == "pilot"]


def hopeless(task: str) -> bool | None:
    """Whether no hybrid's first member is above both pure layouts' on validation; None while some are to be trained."""
    of = {row["layout"]: row["validation_accuracy"] for row in pilots(task) if row["number"] == 0}
    if len(of) < len(LAYOUTS):
        return None
    return max(of[each] for each in HYBRIDS) <= max(of[each] for each in PURE)


def chosen(task: str) -> dict[str, int]:
    """By layout, the number of the member that validation puts first; pure layouts and the best hybrid first."""
    best: dict[str, Row] = {}
    for row in pilots(task):
        if row["layout"] not in best or row["validation_accuracy"] > best[row["layout"]]["validation_accuracy"]:
            best[row["layout"]] = row
    hybrids = sorted((each for each in HYBRIDS if each in best), key=lambda each: -best[each]["validation_accuracy"])
    return {each: best[each]["number"] for each in (*hybrids[:1], *PURE, *hybrids[1:]) if each in best}


def work_of(task: str, phase: str, count: int) -> Iterator[Training]:
    """The trainings of a task's phase that are still to be done, one after another."""
    done = {tuple(str(row[name]) for name in ("task", "phase", "layout", "number", "seed")) for row in finished()}
    if phase == "pilot":
        for number in range(count):
            if number and hopeless(task):
                return
            for layout in LAYOUTS:
                each = Training(task=task, phase=phase, layout=layout, number=number, seed=PILOT_SEED)
                if each.key not in done:
                    yield each
    elif hopeless(task) is False:
        for seed in FINAL_SEEDS:
            for layout, number in chosen(task).items():
                each = Training(task=task, phase=phase, layout=layout, number=number, seed=seed)
                if each.key not in done:
                    yield each


def summarize() -> None:
    """Writes means over seeds, and every difference of the best hybrid from a pure layout over its standard error."""
    found: Row = {}
    for task in TASKS:
        layouts: dict[str, list[float]] = {}
        for row in finished():
            if row["task"] == task and row["phase"] == "final":
                layouts.setdefault(row["layout"], []).append(float(row["test_accuracy"]))
        best = next((each for each in chosen(task) if each in HYBRIDS), None)
        differences: Row = {}
        for pure in PURE:
            if best is not None and len(layouts.get(best, [])) > 1 and len(layouts.get(pure, [])) > 1:
                ours, theirs = layouts[best], layouts[pure]
                error = (stdev(ours) ** 2 / len(ours) + stdev(theirs) ** 2 / len(theirs)) ** 0.5
                gain = mean(ours) - mean(theirs)
                ratio = round(gain / error, 1) if error else None
                differences[pure] = {"difference": round(gain, 4), "standard_error": round(error, 4), "ratio": ratio}
        found[task] = {
            "pilots": {f"{row['layout']} {row['number']}": row["validation_accuracy"] for row in pilots(task)},
            "hopeless": hopeless(task),
            "best_hybrid": best,
            "test": {each: {"mean": round(mean(values), 4), "seeds": len(values)} for each, values in layouts.items()},
            "best_hybrid_less": differences,
        }
    summary = {"tasks": found, **provenance(f"{COMMAND} --summary")}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/hybrid-wins"))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--members", type=int, default=3, help="pilots of so many members of each layout")
    parser.add_argument("--phases", nargs="+", choices=("pilot", "final"), default=("pilot", "final"))
    parser.add_argument("--summary", action="store_true")
    args = parser.parse_args()
    if args.summary:
        summarize()
        return
    torch.set_num_threads(1)
    for phase in args.phases:
        for task in args.tasks:
            data: Dataset | None = None
            for training in work_of(task, phase, args.members):
                data = data or data_of(task, args.images, args.work)
                train(training, data, args.work)


if __name__ == "__main__":
    main()
