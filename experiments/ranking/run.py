"""What scores are worth on tables of known accuracies; see README.md."""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np

import nas
from nas.benchmark.ranking import rank
from nas.benchmark.scorers import Settings
from nas.options import AGGREGATES, SHARED_WEIGHTS, ZERO_COST
from nas.progress import Progress, Silent
from nas.run import atomic_write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
RESULTS, TRUTH = ROOT / "results" / "ranking", ROOT / "results" / "hybrid-truth"
SEEDS, NATS_ROWS, KNOWN, IMAGES = (0, 1, 2), 200, 12, 10_000
# That table's networks trained for 90 epochs; counted as of 25,000 images, the smaller of its training sets.
NATS_IMAGES = 90 * 25_000
VIT_PIXELS = 64
FIGURES = (
    "spearman", "low", "high", "kendall", "partial_spearman_given_macs", "partial_spearman_given_params",
    "within_band_spearman", "within_kind_spearman", "n", "failed", "known", "seconds",
)  # fmt: skip


class Lines(Silent):
    """Says what a scorer did."""

    def note(self, text: str) -> None:
        print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", choices=["hybrid", "nats", "autoformer"])
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as an .npz file")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--table", type=Path, help="nats_size_cifar10.csv or autoformer_vit_200.csv")
    parser.add_argument("--supernet", help="a run whose supernet is judged too; what its training took is not counted")
    parser.add_argument("--epochs", type=int, default=1, help="of each short training of `calibrated`")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="of `calibrated`; all else has one")
    parser.add_argument("--images", type=int, default=IMAGES, help="training images that scores may use")
    asked = parser.parse_args()
    work = asked.work / f"{asked.truth}-{asked.images}"
    work.mkdir(parents=True, exist_ok=True)
    data = first_images(asked.data, asked.images, work)
    column, rows, seeds = None, None, SEEDS[: asked.seeds]
    if asked.truth == "hybrid":
        table, space = band(work), nas.load_space("coatnet-small")
    elif asked.truth == "nats":
        table, space, rows = asked.table, nas.load_space("nats-size"), NATS_ROWS
    else:
        # The images at hand have ten classes, and fewer pixels than the 224 that these networks were trained at.
        space = nas.load_space("autoformer").adapted(num_classes=10, resolution=VIT_PIXELS)
        table, column, seeds = asked.table, "c100_kd_acc", SEEDS[:1]
    progress: Progress = Lines()
    for seed in seeds:
        settings = Settings(
            data=str(data),
            seed=seed,
            work=work / "known",
            supernet=asked.supernet,
            known=KNOWN,
            calibration_epochs=asked.epochs,
        )
        # AutoFormer's accuracies are of another data set, which no short training of ours can speak for.
        names = [
            *(["calibrated"] if asked.truth != "autoformer" else []),
            *(AGGREGATES + ZERO_COST if seed == SEEDS[0] else ()),
        ]
        names += [*SHARED_WEIGHTS] if asked.supernet and seed == SEEDS[0] else []
        for name in names:
            told = work / (f"{name}-{asked.epochs}-{seed}.json" if name == "calibrated" else f"{name}-{seed}.json")
            if told.exists():
                continue
            found = rank(
                table, space=space, scorers=[name], settings=settings, rows=rows, truth_column=column, progress=progress
            ).to_dict()
            atomic_write(told, json.dumps(found))
            print(name, seed, {key: found["scorers"][name][key] for key in FIGURES}, flush=True)
    report(asked, work, training_seconds(asked.truth, work))


def first_images(path: Path, count: int, work: Path) -> Path:
    """The data with fewer training images."""
    found = work / "data.npz"
    if not found.exists():
        arrays = dict(np.load(path))
        arrays["x_train"], arrays["y_train"] = arrays["x_train"][:count], arrays["y_train"][:count]
        np.savez(found, **arrays)
    return found


def band(work: Path) -> Path:
    """The part of the hybrid truth where all networks cost the same."""
    with (TRUTH / "truth.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["group"] == "band"]
    path = work / "band.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def training_seconds(truth: str, work: Path) -> float | None:
    """CPU seconds of one training as the truth's were, as far as they are known.

    For NATS-Bench's they follow from those that the short trainings took per image, on average.
    """
    if truth == "hybrid":
        with (TRUTH / "trainings.csv").open() as file:
            return statistics.mean(float(row["cpu_seconds"]) for row in csv.DictReader(file))
    entries = [json.loads(line) for path in work.glob("known/*/numbers.jsonl") for line in path.open()]
    named = [(entry["name"].split(), entry["seconds"]) for entry in entries]
    # Such as "accuracy after 3 epochs".
    taken = [seconds / int(name[2]) for name, seconds in named if name[0] == "accuracy"]
    with np.load(work / "data.npz") as arrays:
        images = len(arrays["y_train"]) * 0.9  # the rest is search-validation
    return statistics.mean(taken) / images * NATS_IMAGES if taken else None


def report(asked: argparse.Namespace, work: Path, training: float | None) -> None:
    """Writes `results/ranking/<truth>.csv` and its summary."""
    rows: list[dict[str, Any]] = []
    for path in sorted(work.glob("*-[0-9].json")):
        found, seed = json.loads(path.read_text()), int(path.stem.rpartition("-")[2])
        for name, judged in found["scorers"].items():
            if name == "calibrated":
                epochs = int(path.stem.split("-")[1])
                name = f"calibrated ({epochs} epoch{'s' * (epochs != 1)})"
            if seed == SEEDS[0] or name == "known" or name.startswith("calibrated"):
                row = {"score": name, "seed": seed, **{key: _short(judged[key]) for key in FIGURES}}
                spent = judged["seconds"] / training if training and judged["seconds"] else None
                row["trainings"] = _short(None if spent is None else judged["known"] + spent)
                if not any(r["score"] == name and r["seed"] == seed for r in rows):
                    rows.append(row)
    rows.sort(key=lambda row: (-(row["spearman"] if isinstance(row["spearman"], float) else -1), row["score"]))
    RESULTS.mkdir(parents=True, exist_ok=True)
    name = asked.truth + ("" if asked.images == IMAGES else f"-{asked.images}")
    with (RESULTS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    tables = {"hybrid": "", "nats": " --table nats_size_cifar10.csv", "autoformer": " --table autoformer_vit_200.csv"}
    command = f"python experiments/ranking/run.py {asked.truth} --data cifar10.npz --work runs/ranking"
    command += "" if asked.images == IMAGES else f" --images {asked.images}"
    summary = {
        **provenance(command + tables[asked.truth]),
        "images": asked.images,
        "training_cpu_seconds": training,
    }
    atomic_write(RESULTS / f"{name}.json", json.dumps(summary, indent=1) + "\n")


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else "" if value is None else value


if __name__ == "__main__":
    main()
