"""What is a search from a pretrained parent worth on a few thousand photos? See README.md.

    python experiments/pretrained/run.py --data clothing10 --weights lite0.safetensors --shares 0.5 --seeds 0

Stopped, it goes on when started again. Every finished search adds rows to `results/pretrained/STUDY.csv`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nas
from nas.data import Batches, Dataset, Split, open_data
from nas.formats import is_rival
from nas.inference.classifier import Classifier
from nas.methods.protocol.parent_line import parent_accuracies
from nas.methods.supernet.inheriting import PHASE, Inheritance
from nas.methods.supernet.parent import load_parent
from nas.run import atomic_write, read_run
from nas.run.events import FinalistTrained, ParentTuned, RunFinished, WinnerExported
from nas.training import Recipe
from nas.training.checkpoint import load_checkpoint, newest
from nas.training.evaluation import recalibrate
from nas.training.standalone import RECALIBRATION_IMAGES

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from commands import SEARCH, is_finished
from provenance import provenance
from tables import read_rows, write_rows

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "pretrained"
PARENT, SCRATCH = "parent", "scratch"
SAMPLES = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="lite0", help="name of the results")
    parser.add_argument("--data", required=True, help="as for nas-search, with a test split of its own")
    parser.add_argument("--parent", default="tf_efficientnet_lite0", help="as for nas-search")
    parser.add_argument("--weights", help="the parent's, by nas weights convert; none for one that nas train wrote")
    parser.add_argument("--resolution", type=int, default=160)
    parser.add_argument("--macs", type=float, default=208.0, help="the parent's multiply-adds in millions")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.25], help="of the parent's multiply-adds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--space", help="a space of which the parent is a member; default: its parts")
    parser.add_argument("--scratch", action="store_true", help="then a search without a parent, for the same time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="further options of the search")
    parser.add_argument("--work", type=Path, default=Path("runs/pretrained"))
    words = parser.parse_args()
    for share in words.shares:
        for seed in words.seeds:
            run = searched(words, share, seed)
            keep(words, rows_of(words, run, share, seed, PARENT))
            if words.scratch:
                run = searched_from_scratch(words, share, seed, run)
                keep(words, rows_of(words, run, share, seed, SCRATCH))
            compare(words)
    print(results(words, "json").read_text())


def results(words: argparse.Namespace, kind: str) -> Path:
    return RESULTS / f"{words.study}.{kind}"


def searched(words: argparse.Namespace, share: float, seed: int) -> Path:
    """The folder of a search from the parent by the command line, done from its start or its stop."""
    run = words.work / f"{share:g}-{seed}-{PARENT}"
    if is_finished(run):
        return run
    command = [*SEARCH]
    if run.exists():
        command += ["--resume", str(run)]
    else:
        size = str(words.resolution)
        command += ["--parent", words.parent, *(["--weights", words.weights] if words.weights else [])]
        command += ["--budget", budget(words, share), "--resolution", size, "--train-resolution", size]
        command += ["--data", words.data, *(["--space", words.space] if words.space else []), "--out", str(run)]
        command += ["--threads", str(words.threads), "--seed", str(seed), *words.options]
    run.parent.mkdir(parents=True, exist_ok=True)
    with (run.parent / f"{run.name}.log").open("a") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
    return run


def searched_from_scratch(words: argparse.Namespace, share: float, seed: int, beside: Path) -> Path:
    """The folder of the default search of the same space without the parent's weights, for as long as another took."""
    run = words.work / f"{share:g}-{seed}-{SCRATCH}"
    if is_finished(run):
        return run
    if run.exists():
        nas.resume(run)
        return run
    finished = read_run(beside).last(RunFinished)
    assert finished is not None
    space = nas.load_space(words.space) if words.space else nas.derive_space(words.parent, smaller=True)
    options = nas.SearchOptions.of(
        space=space.name,
        resolution=words.resolution,
        train_resolution=words.resolution,
        time=f"{max(30.0, finished.seconds):.0f}s",
        rivals=0,
        threads=words.threads,
        seed=seed,
        out=str(run),
    )
    nas.search(space, budgets=[nas.Budget.parse(budget(words, share))], data=words.data, options=options)
    return run


def budget(words: argparse.Namespace, share: float) -> str:
    return f"{share * words.macs:g}MFLOPs"


def rows_of(words: argparse.Namespace, run: Path, share: float, seed: int, arm: str) -> list[dict[str, Any]]:
    """One row per network of a finished search, with which test images it gets right, and one of the parent."""
    record, data = read_run(run), open_data(words.data).load(resolution=words.resolution, seed=seed)
    finished, parent = record.last(RunFinished), record.last(ParentTuned)
    assert finished is not None
    trained = {event.digest: event for event in record.events(FinalistTrained)}
    shared = {"share": share, "seed": seed, "arm": arm, "seconds": round(finished.seconds)}
    rows = [
        {
            **shared,
            "chosen_by": event.chosen_by,
            "rank": event.rank,
            "digest": event.digest,
            "macs": event.macs,
            "params": event.params,
            "epochs": trained[event.digest].epochs,
            "validation": event.validation_accuracy,
            "test": event.test_accuracy,
            "right": right_images(run / event.path, data.test, event.test_accuracy),
        }
        for event in sorted(record.events(WinnerExported), key=lambda event: event.rank)
    ]
    if parent is not None:
        told = {"macs": parent.macs, "params": parent.params, "epochs": parent.epochs}
        validation, test = parent_accuracies(record)
        assert test is not None
        right = right_of_parent(words, run, data, test, seed=seed)
        reached = {"validation": validation, "test": test, "right": right}
        rows.append({**shared, "chosen_by": "fine-tuned", "rank": "", "digest": "", **told, **reached})
    return rows


def right_images(folder: Path, test: Split, recorded: float) -> str:
    """A digit per test image, 1 where the exported network is right; checked against the recorded accuracy."""
    right = Classifier(folder, device="cpu").logits(test.images).argmax(1) == test.labels
    return digits(right, recorded, str(folder))


def right_of_parent(words: argparse.Namespace, run: Path, data: Dataset, recorded: float, *, seed: int) -> str:
    """The same of the parent: as the run fine-tuned it, or as it was given."""
    parent = load_parent(words.parent, words.weights)
    data = Inheritance(parent, importance="magnitude", tuned=True).adapted(data)
    network = parent.network(data.info, resolution=words.resolution, seed=seed)
    file = newest(run / PHASE)
    if file is not None:
        load_checkpoint(file, network)
        recipe = Recipe(epochs=1, batch_size=64)
        recalibrate(network, data, recipe, images=RECALIBRATION_IMAGES)  # as the run did after the checkpoint
    network.eval()
    with torch.no_grad():
        batches = Batches(data.test, batch_size=256, mean=data.mean, std=data.std, device="cpu")
        right = torch.cat([network(images).argmax(1) == labels for images, labels in batches])
    return digits(right, recorded, words.parent)


def digits(right: torch.Tensor, recorded: float, what: str) -> str:
    assert abs(right.double().mean().item() - recorded) < 1.5 / len(right), (what, recorded)
    return "".join(map(str, right.to(torch.int64).tolist()))


def keep(words: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Adds the rows of one search to those kept, or puts them in place of older ones of the same search."""
    mine = tuple(str(rows[0][name]) for name in ("share", "seed", "arm"))
    others = [row for row in kept(words) if (row["share"], row["seed"], row["arm"]) != mine]
    write_rows(results(words, "csv"), [*others, *rows])


def kept(words: argparse.Namespace) -> list[dict[str, Any]]:
    return read_rows(results(words, "csv"))


def best(rows: list[dict[str, Any]], share: str, seed: str, kind: str) -> dict[str, Any] | None:
    """The network of a kind that one search has: of those it chose itself, the best on validation."""
    arm = SCRATCH if kind == SCRATCH else PARENT
    mine = [row for row in rows if (row["share"], row["seed"], row["arm"]) == (share, seed, arm)]
    if kind in (PARENT, SCRATCH):
        own = [row for row in mine if not is_rival(row["chosen_by"]) and row["chosen_by"] != "fine-tuned"]
        return max(own, key=lambda row: float(row["validation"]), default=None)
    return next((row for row in mine if row["chosen_by"] == kind), None)


def compare(words: argparse.Namespace) -> None:
    """Writes the searched network's test accuracy less that of each other, pooled over the seeds at hand."""
    rows = kept(words)
    found: dict[str, Any] = {}
    for share in sorted({row["share"] for row in rows}):
        for kind in ("fine-tuned", "scaled", SCRATCH):
            seeds = sorted({row["seed"] for row in rows if row["share"] == share})
            pairs = [(best(rows, share, seed, PARENT), best(rows, share, seed, kind)) for seed in seeds]
            both = [(ours, theirs) for ours, theirs in pairs if ours is not None and theirs is not None]
            if both:
                found[f"{share} less {kind}"] = difference(both)
    method = f"95 %, bootstrap over seeds and test images, {SAMPLES:,} samples; pairs of networks share their images"
    if any(not row["right"] for row in rows):
        method += ", but the parent, whose accuracy is drawn from its binomial distribution"
    told = provenance("python experiments/pretrained/run.py " + given_words())
    atomic_write(results(words, "json"), json.dumps({**told, "interval": method, **found}, indent=1) + "\n")


def difference(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """The mean difference of test accuracy over seeds and its interval, over seeds and images."""
    rng = np.random.default_rng(0)
    ours = np.array([per_image(mine["right"]) for mine, _ in pairs])
    others = [per_image(other["right"]) for _, other in pairs]
    told = np.array([[float(mine["test"]), float(other["test"])] for mine, other in pairs])
    seeds, images = ours.shape
    drawn = np.empty(SAMPLES)
    for place in range(SAMPLES):
        seed, image = rng.integers(seeds, size=seeds), rng.integers(images, size=images)
        theirs = [
            others[each][image].mean() if len(others[each]) else rng.binomial(images, told[each, 1]) / images
            for each in seed
        ]
        drawn[place] = ours[seed][:, image].mean() - np.mean(theirs)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "seeds": seeds,
        "mean": round(float((told[:, 0] - told[:, 1]).mean()), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
    }


def per_image(right: str) -> np.ndarray:
    return np.array([*map(int, right)], dtype=float)


def given_words() -> str:
    """The words of the command without the folders of this machine."""
    return " ".join(Path(word).name if "/" in word else word for word in sys.argv[1:])


if __name__ == "__main__":
    main()
