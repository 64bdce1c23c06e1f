"""Accuracy after every epoch of long trainings of coatnet-small's members on CIFAR-10. See README.md.

    python experiments/long-trainings/run.py --data cifar10.npz --work runs/long-trainings [--part 0/2]
    python experiments/long-trainings/run.py --data cifar10.npz --resolution 64 --until 10 --members 4
    python experiments/long-trainings/run.py --work runs/long-trainings --collect

Several processes may share the work, each with its own `--part i/n`. Stopped, each goes on from its last checkpoint
when started again. `--collect` adds what is finished to `results/long-trainings/`; networks that are there already are
not trained again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch

import nas
from nas.architecture import Architecture
from nas.benchmark.rank_statistics import spearman
from nas.data import Dataset, Split
from nas.progress import Silent
from nas.report.drawing import Look, add_legend, label_axes, new_figure, to_png
from nas.run import atomic_write
from nas.training import Recipe, evaluate, fresh_network, train_network
from nas.training.freed_memory import keep_freed_memory
from nas.training.recipe import learning_rate_for

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from studies import script
from tables import read_rows, write_rows

truth = script("hybrid-truth")
RESULTS = Path(__file__).resolve().parents[2] / "results" / "long-trainings"
LAYOUTS, MEMBERS_EACH, EPOCHS, BATCH_SIZE = ("CCCC", "CCCA", "CCAA", "CAAA"), 3, 30, 64
SIDE = 32  # of the images; at others, of the same images enlarged, trainings are stopped after some epochs
WATCHED = 5000  # test images that every epoch's accuracy is of; nothing is chosen by it
COLUMNS = ("digest", "layout", "macs", "params", "test_accuracy", "commit")
SHARES = (1, 2, 3, 5, 10, 15, 20)  # epochs whose order is compared with the last


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A network of the band of `hybrid-truth`."""

    architecture: Architecture
    layout: str


def members() -> list[Member]:
    """The first three of each layout, in the order in which they were drawn; one of each layout before the second."""
    band = [task for task in truth.tasks() if task.group == "band" and task.seed == 0]
    of = {layout: [task for task in band if task.layout == layout][:MEMBERS_EACH] for layout in LAYOUTS}
    return [
        Member(architecture=of[layout][i].architecture, layout=layout)
        for i in range(MEMBERS_EACH)
        for layout in LAYOUTS
    ]


def train(member: Member, data: Dataset, work: Path, *, resolution: int, until: int) -> None:
    """Trains one member, with its accuracy after every epoch, unless its result is there."""
    digest = member.architecture.digest
    name = digest if resolution == SIDE else f"{digest}-{resolution}"
    result, folder = work / "members" / f"{name}.json", work / "checkpoints" / name
    curve = work / "curves" / f"{name}.jsonl"
    known = until in kept_curves().get((digest, resolution), {})
    if known or result.exists() or (until < EPOCHS and until in curve_of(curve)):
        return
    cost = nas.cost(member.architecture)
    recipe = Recipe(
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        learning_rate=learning_rate_for(cost.params, BATCH_SIZE),
        augment="crop-flip",
        seed=0,
    )
    curve.parent.mkdir(parents=True, exist_ok=True)

    def keep(row: dict[str, Any]) -> None:
        with curve.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{member.layout} {name} epoch {row['epoch']}: {row['validation_accuracy']:.4f}", flush=True)

    network, cpu = fresh_network(member.architecture.at_resolution(resolution), seed=0), time.process_time()
    train_network(network, data, recipe, progress=Silent(), folder=folder, on_epoch=keep, validate=True, until=until)
    if until < EPOCHS:
        return
    row = {
        "digest": digest,
        "layout": member.layout,
        "macs": cost.macs,
        "params": cost.params,
        "test_accuracy": evaluate(network, data.test, data, recipe),
        "cpu_seconds_since_last_start": round(time.process_time() - cpu, 1),
        "recipe": recipe.to_dict(),
        **provenance("python experiments/long-trainings/run.py"),
    }
    result.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(result, json.dumps(row) + "\n")
    shutil.rmtree(folder, ignore_errors=True)


def kept_curves() -> dict[tuple[str, int], dict[int, float]]:
    """The accuracies by epoch that the results have, by network and image side."""
    found: dict[tuple[str, int], dict[int, float]] = {}
    for row in read_rows(RESULTS / "curves.csv"):
        found.setdefault((row["digest"], int(row["resolution"])), {})[int(row["epoch"])] = float(row["accuracy"])
    return found


def curve_of(path: Path) -> dict[int, float]:
    """Accuracy by epoch; an epoch that was repeated after a stop counts once."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {row["epoch"]: row["validation_accuracy"] for row in map(json.loads, lines)}


def collect(work: Path) -> None:
    """Adds finished trainings to the results, and compares the order after fewer epochs with that after the last."""
    rows = {row["digest"]: row for row in read_rows(RESULTS / "members.csv")}
    every = kept_curves()
    for path in sorted((work / "members").glob("*.json")):
        row = json.loads(path.read_text())
        rows[row["digest"]] = {name: row[name] for name in COLUMNS}
        every[row["digest"], SIDE] = curve_of(work / "curves" / f"{row['digest']}.jsonl")
    for path in sorted((work / "curves").glob("*-*.jsonl")):
        digest, _, side = path.stem.partition("-")
        every[digest, int(side)] = curve_of(path)
    curves = {digest: curve for (digest, side), curve in every.items() if side == SIDE}
    finished = [member for member in members() if member.architecture.digest in rows]
    for member in finished:  # last, being long
        architecture = json.dumps(member.architecture.to_dict(), separators=(",", ":"))
        rows[member.architecture.digest] |= {"architecture": architecture}
    digests = [member.architecture.digest for member in finished]
    write_rows(RESULTS / "members.csv", [rows[digest] for digest in digests])
    write_rows(
        RESULTS / "curves.csv",
        [
            {
                "digest": member.architecture.digest,
                "layout": member.layout,
                "resolution": side,
                "epoch": epoch,
                "accuracy": f"{accuracy:.4f}",
            }
            for member in members()
            for (digest, side), curve in sorted(every.items())
            if digest == member.architecture.digest
            for epoch, accuracy in sorted(curve.items())
        ],
    )
    draw(finished, every)
    layouts = {layout: [m.architecture.digest for m in finished if m.layout == layout] for layout in LAYOUTS}
    summary = {
        "members_finished": len(finished),
        "of": len(members()),
        "spearman_of_epoch_with_last": {
            epochs: spearman([curves[d][epochs] for d in digests], [curves[d][EPOCHS] for d in digests])
            for epochs in SHARES
            if len(digests) > 2
        },
        "mean_accuracy_by_layout": {
            layout: {epoch: round(mean(curves[d][epoch] for d in found), 4) for epoch in (*SHARES, EPOCHS)}
            for layout, found in layouts.items()
            if found
        },
        "between_resolutions": between_resolutions(every),
        **provenance("python experiments/long-trainings/run.py --data cifar10.npz"),
    }
    (RESULTS / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary, indent=1))


def between_resolutions(every: dict[tuple[str, int], dict[int, float]]) -> dict[int, dict[str, Any]]:
    """By image side: rank correlations with the final order of the same networks at `SIDE`, and of equal epochs."""
    found: dict[int, dict[str, Any]] = {}
    for side in sorted({side for _, side in every} - {SIDE}):
        both = [digest for digest, other in every if other == side and EPOCHS in every.get((digest, SIDE), {})]
        if len(both) < 3:
            continue
        last = min(max(every[digest, side]) for digest in both)
        last_order = [every[digest, SIDE][EPOCHS] for digest in both]
        epochs = [epoch for epoch in SHARES if epoch <= last]
        found[side] = {
            "networks": len(both),
            "with_the_last": {e: spearman([every[d, side][e] for d in both], last_order) for e in epochs},
            "after_equal_epochs": {
                e: spearman([every[d, side][e] for d in both], [every[d, SIDE][e] for d in both]) for e in epochs
            },
        }
    return found


def draw(finished: list[Member], every: dict[tuple[str, int], dict[int, float]]) -> None:
    """Writes the picture of the curves, a color per layout; those of other image sides are dashed."""
    look = Look()
    figure, axes = new_figure(look)
    label_axes(axes, look, x="epoch", y=f"accuracy on {WATCHED:,} test images")
    lines: dict[str, Any] = {}
    for member in finished:
        color = look.colors[LAYOUTS.index(member.layout)]
        for (digest, side), curve in sorted(every.items()):
            if digest != member.architecture.digest:
                continue
            epochs, accuracies = zip(*sorted(curve.items()), strict=True)
            style = "-" if side == SIDE else "--"
            (line,) = axes.plot(epochs, accuracies, style, color=color, linewidth=1.5, label="-".join(member.layout))
            lines.setdefault(member.layout, line)
    add_legend(figure, look, [lines[layout] for layout in LAYOUTS if layout in lines], columns=len(LAYOUTS))
    (RESULTS / "curves.png").write_bytes(to_png(figure, look))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/long-trainings"))
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--members", type=int, default=len(LAYOUTS) * MEMBERS_EACH, help="of the list, the first so many"
    )
    parser.add_argument("--resolution", type=int, default=SIDE, help="image side of training")
    parser.add_argument("--until", type=int, default=EPOCHS, help=f"epochs to train of the {EPOCHS} that are scheduled")
    parser.add_argument("--collect", action="store_true")
    args = parser.parse_args()
    if args.collect:
        collect(args.work)
        return
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    part, parts = map(int, args.part.split("/"))
    data = truth.whole_training_set(args.data, resolution=args.resolution)
    watched = Split(images=data.test.images[:WATCHED], labels=data.test.labels[:WATCHED])
    data = replace(data, search_validation=watched)
    for index, member in enumerate(members()[: args.members]):
        if index % parts == part:
            train(member, data, args.work, resolution=args.resolution, until=args.until)


if __name__ == "__main__":
    main()
