"""What scores are worth on tables of known accuracies; see README.md."""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nas
from nas.architecture import Architecture
from nas.benchmark.codecs import CODECS, decode
from nas.benchmark.ranking import rank
from nas.benchmark.tables import read_table
from nas.data import open_data
from nas.methods.calibrated.features import FeatureGroups, FeatureScaler
from nas.methods.protocol.ranking import RankingSettings
from nas.methods.zero_cost.aggregated import PARTS
from nas.methods.zero_cost.proxies import PROXIES
from nas.progress import Progress, Silent
from nas.run import atomic_write, read_run
from nas.training import fresh_network

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

ROOT = Path(__file__).resolve().parents[2]
RESULTS, TRUTH = ROOT / "results" / "ranking", ROOT / "results" / "hybrid-truth"
SEEDS, NATS_ROWS, KNOWN, IMAGES = (0, 1, 2), 200, (7, 12), 10_000
# That table's networks trained for 90 epochs; counted as of 25,000 images, the smaller of its training sets.
NATS_IMAGES = 90 * 25_000
HYBRID_IMAGES = 5 * 25_000
VIT_PIXELS, VIT_IMAGES = 64, 50_000
# The table's accuracies on CIFAR-100: with distillation, where size pays, and without, where it does not.
VIT_COLUMNS = {"autoformer": "c100_kd_acc", "autoformer-base": "c100_base_acc"}
# A supernet's two scores, each by the options that ask for it.
SHARED_WEIGHTS = {"supernet": {"scorer": "accuracy"}, "supernet-loss": {"scorer": "loss"}}
# What blocks' scores go by in the results: with a teacher, trained in sequence, or neither.
DISTILLED, BLOCKS = "blockwise-distil", {"sequential": "blockwise-sequential", "side-by-side": "blockwise"}
FIGURES = (
    "spearman", "low", "high", "kendall", "partial_spearman_given_macs", "partial_spearman_given_params",
    "partial_spearman_given_both", "within_band_spearman", "within_band_low", "within_band_high",
    "within_kind_spearman", "n", "failed", "known", "known_trainings", "seconds",
)  # fmt: skip


class Lines(Silent):
    """Says what a scorer did."""

    def note(self, text: str) -> None:
        print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", choices=["hybrid", "nats", "nats-all", *VIT_COLUMNS])
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as an .npz file")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--table", type=Path, help="nats_size_cifar10.csv or autoformer_vit_200.csv")
    parser.add_argument("--supernet", help="a run whose supernet is judged too")
    parser.add_argument(
        "--blockwise",
        nargs=2,
        action="append",
        default=[],
        metavar=("RUN", "SECONDS"),
        help="a block-wise run that is judged too, and the CPU seconds that it took",
    )
    parser.add_argument("--epochs", type=int, default=1, help="of each short training of `calibrated`")
    parser.add_argument("--calibrations", type=int, default=12, help="what they may cost, in average networks")
    parser.add_argument("--augment", default="none", help="how images vary in these trainings, as in `nas rank`")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="of `calibrated`; all else has one")
    parser.add_argument("--images", type=int, default=IMAGES, help="training images that scores may use")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=["calibrated", *sorted([*PARTS, *PROXIES.names()])],
        help="judge these, and replace their rows",
    )
    asked = parser.parse_args()
    # What is computed for the ViTs serves both of their truths, and what is for NATS-Bench's 200 serves them all.
    known = asked.work / f"{asked.truth.partition('-')[0]}-{asked.images}"
    work = asked.work / f"{asked.truth}-{asked.images}"
    for folder in (known, work):
        folder.mkdir(parents=True, exist_ok=True)
    data = first_images(asked.data, asked.images, known)
    column, rows, seeds = None, None, SEEDS[: asked.seeds]
    if asked.truth == "hybrid":
        table, space = band(work), nas.load_space("coatnet-small")
    elif asked.truth.startswith("nats"):
        table, space = asked.table, nas.load_space("nats-size")
        rows = NATS_ROWS if asked.truth == "nats" else None
    else:
        # The images at hand have ten classes, and fewer pixels than the 224 that these networks were trained at.
        space = nas.load_space("autoformer").adapted(num_classes=10, resolution=VIT_PIXELS)
        table, column, seeds = asked.table, VIT_COLUMNS[asked.truth], SEEDS[:1]
    progress: Progress = Lines()

    def judge(told: Path, method: str | None, settings: RankingSettings, **options: Any) -> None:
        if not told.exists():
            found = rank(
                table,
                space=space,
                methods=[] if method is None else [method],
                method_options=options,
                settings=settings,
                rows=rows,
                truth_column=column,
                progress=progress,
            ).to_dict()
            atomic_write(told, json.dumps(found))
            shown = found["scorers"][method or "known"]
            print(told.stem, {key: shown[key] for key in FIGURES}, flush=True)

    for seed in seeds:
        settings = RankingSettings(
            data=str(data), seed=seed, work=known / "known", supernet=asked.supernet, augment=asked.augment
        )
        calibrations = {"calibrations": asked.calibrations, "calibration_epochs": asked.epochs}
        for name in scorers(asked, seed):
            varied = "" if asked.augment == "none" else f"-{asked.augment}"
            varied += "" if asked.calibrations == 12 else f"-cost{asked.calibrations}"
            trained = f"-{asked.epochs}{varied}" if name == "calibrated" else ""
            told = work / f"{name}{trained}-{seed}.json"
            if name in SHARED_WEIGHTS:  # on the images of the supernet's own run
                judge(told, "supernet", replace(settings, data=None), **SHARED_WEIGHTS[name])
            else:
                judge(told, name, settings, **calibrations)
    if asked.only:
        replace_rows(asked, work)
        return
    for run, _ in asked.blockwise:
        judge(work / f"{block_score(run)}-0.json", "blockwise", RankingSettings(supernet=run))
    for count in KNOWN:
        judge(work / f"known {count}-0.json", None, RankingSettings(known=count))
    report(asked, work, training_seconds(asked.truth, known, asked.table))


def scorers(asked: argparse.Namespace, seed: int) -> list[str]:
    """Those that are judged with a seed; but for `calibrated`, one is enough."""
    if asked.only:
        return [name for name in asked.only if seed == SEEDS[0] or name == "calibrated"]
    if asked.truth == "nats-all":
        return []
    # AutoFormer's accuracies are of another data set, which no short training of ours can speak for.
    calibrated = ["calibrated"] if asked.truth not in VIT_COLUMNS else []
    if seed != SEEDS[0]:
        return calibrated
    return [*calibrated, *PARTS, *sorted(PROXIES.names()), *(SHARED_WEIGHTS if asked.supernet else ())]


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
    write_rows(path, rows)
    return path


def read(space: str, table: Path) -> tuple[list[Architecture], np.ndarray]:
    """A table's networks and their accuracies."""
    found = read_table(table)
    texts = found.column(found.architecture_column(None), "--arch-column")
    return decode(nas.load_space(space), texts, str(table)), np.array(found.truths(found.truth_column(None)))


def training_seconds(truth: str, known: Path, table: Path | None = None) -> float | None:
    """CPU seconds of one training as the truth's were, as far as they are known.

    For NATS-Bench's they follow from those that the short trainings took per image, brought from what the networks that
    were trained cost to what the table's average one does. How long the ViTs were trained is not told; theirs are of
    one epoch of CIFAR-100 at the proxies' resolution, so that no training was less.
    """
    if truth == "hybrid":
        with (TRUTH / "trainings.csv").open() as file:
            return statistics.mean(float(row["cpu_seconds"]) for row in csv.DictReader(file) if row["group"] == "band")
    assert table is not None
    if truth in VIT_COLUMNS:
        return vit_epoch_seconds(table, known)
    networks, _ = read("nats-size", table)
    costs = FeatureScaler(FeatureGroups.of(networks, None)).costs
    cost_of = dict(zip((each.digest for each in networks), costs / costs.mean(), strict=True))
    images = training_images(known / "data.npz")
    seconds, trained = 0.0, 0.0
    for path in known.glob("known/*/numbers.jsonl"):
        for entry in map(json.loads, path.open()):
            # Such as "accuracy after 3 epochs", or with how images varied after that.
            what, _, epochs, *_ = [*entry["name"].split(), "", ""]
            if what == "accuracy":
                seconds += entry["seconds"]
                trained += int(epochs) * images * cost_of[entry["digest"]]
    return seconds / trained * NATS_IMAGES if trained else None


def training_images(data: Path) -> int:
    """How many of the images for training are left for it once search-validation has been taken out."""
    return len(open_data(str(data)).load(resolution=32, seed=SEEDS[0]).train)


def vit_epoch_seconds(table: Path, known: Path) -> float:
    """Measured once, on the table's first, middle and last network: a step of 64 images, after one to warm up."""
    kept = known / "vit_epoch.json"
    if not kept.exists():
        space = nas.load_space("autoformer").adapted(num_classes=10, resolution=VIT_PIXELS)
        with table.open() as file:
            rows = [row["arch_json"] for row in csv.DictReader(file) if row[VIT_COLUMNS["autoformer"]]]
        images, taken = torch.randn(64, 3, VIT_PIXELS, VIT_PIXELS), []
        torch.set_num_threads(1)
        for text in (rows[0], rows[len(rows) // 2], rows[-1]):
            network = fresh_network(CODECS["autoformer"](space, text), seed=0).train()
            network(images).square().mean().backward()
            began = time.process_time()
            network(images).square().mean().backward()
            taken.append(time.process_time() - began)
        atomic_write(kept, json.dumps(statistics.mean(taken) / 64 * VIT_IMAGES))
    return float(json.loads(kept.read_text()))


def supernet_trainings(run: str, truth: str) -> float:
    """What a run's supernet trained on, in trainings of the truth: images over images."""
    manifest = read_run(Path(run)).manifest
    plan, found = manifest["plan"]["method"], manifest["data"]["train_count"]
    return plan["epochs"] * (found - plan["validation_images"]) / (HYBRID_IMAGES if truth == "hybrid" else NATS_IMAGES)


def block_score(run: str) -> str:
    """What the score of a block-wise run's blocks goes by."""
    plan = read_run(Path(run)).manifest["plan"]["method"]
    name = DISTILLED if plan["teacher"] else BLOCKS[plan["strategy"]]
    return f"{name} ({plan['epochs']} epoch{'s' * (plan['epochs'] != 1)})"


def report(asked: argparse.Namespace, work: Path, training: float | None) -> None:
    """Writes `results/ranking/<truth>.csv` and its summary."""
    csv_path, json_path = result_files(asked)
    write_rows(csv_path, ordered(judged_rows(asked, work, training)))
    summary = {**provenance(command()), "images": asked.images, "training_cpu_seconds": training}
    atomic_write(json_path, json.dumps(summary, indent=1) + "\n")


def replace_rows(asked: argparse.Namespace, work: Path) -> None:
    """The same where a few scores were judged again: their rows change, and `again` in the summary names them."""
    csv_path, json_path = result_files(asked)
    summary = json.loads(json_path.read_text())
    now = provenance(command())
    # What a score costs in trainings is known where both were timed on the same hardware.
    training = summary["training_cpu_seconds"] if now["hardware"] == summary["hardware"] else None
    rows = judged_rows(asked, work, training)
    again = {row["score"] for row in rows}
    with csv_path.open() as file:
        others = [row for row in csv.DictReader(file) if row["score"] not in again]
    write_rows(csv_path, ordered([*others, *rows]))
    summary["again"] = [*summary.get("again", []), {**now, "scores": sorted(again)}]
    atomic_write(json_path, json.dumps(summary, indent=1) + "\n")


def judged_rows(asked: argparse.Namespace, work: Path, training: float | None) -> list[dict[str, Any]]:
    """One row per score and seed that has been judged."""
    rows: list[dict[str, Any]] = []
    blocks = {block_score(run): float(seconds) for run, seconds in asked.blockwise}
    for path in sorted(work.glob("*-[0-9].json")):
        found, seed = json.loads(path.read_text()), int(path.stem.rpartition("-")[2])
        for name, judged in found["scorers"].items():
            if name in ("blockwise", "known", *SHARED_WEIGHTS):
                name = path.stem.rpartition("-")[0]
            if name == "calibrated":
                _, epochs, *varied = path.stem.split("-")[:-1]
                words = ", ".join([f"{epochs} epoch{'s' * (epochs != '1')}", *varied]).replace(
                    "cost", "for the cost of "
                )
                name = f"calibrated ({words})"
            if asked.only and name.partition(" (")[0] not in asked.only:
                continue  # baselines, which are with every score
            if seed == SEEDS[0] or name.startswith("calibrated"):
                row = {"score": name, "seed": seed, **{key: _short(judged[key]) for key in FIGURES}}
                spent = judged["seconds"] / training if training and judged["seconds"] else None
                if spent is not None and name in SHARED_WEIGHTS:
                    spent += supernet_trainings(asked.supernet, asked.truth)
                if spent is not None and training and name in blocks:
                    spent += blocks[name] / training
                row["trainings"] = _short(None if spent is None else judged["known_trainings"] + spent)
                if not any(r["score"] == name and r["seed"] == seed for r in rows):
                    rows.append(row)
    return rows


def ordered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best rank correlation first."""
    return sorted(rows, key=lambda row: (-float(row["spearman"] if row["spearman"] != "" else -1), row["score"]))


def result_files(asked: argparse.Namespace) -> tuple[Path, Path]:
    """The table of a truth and its summary."""
    name = asked.truth + ("" if asked.images == IMAGES else f"-{asked.images}")
    return RESULTS / f"{name}.csv", RESULTS / f"{name}.json"


def command() -> str:
    """What was typed, without the folders of one machine."""
    typed = (Path(each).name if "/" in each else each for each in sys.argv[1:])
    return f"python experiments/ranking/run.py {' '.join(typed)}"


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else "" if value is None else value


if __name__ == "__main__":
    main()
