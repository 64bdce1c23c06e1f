"""How many images the supernet's ranking needs, to recalibrate BatchNorm and to score on; see README.md.

    OMP_NUM_THREADS=1 python experiments/recalibration/run.py --supernet runs/supernet --work runs/recalibration
    python experiments/recalibration/run.py --work runs/recalibration --collect

Stopped, it goes on when started again. `--collect` writes `results/recalibration/`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import nas
from nas.architecture import Architecture
from nas.benchmark.rank_statistics import spearman, top_k_regret
from nas.data import Dataset, Split
from nas.methods.supernet.method import SupernetMethod
from nas.methods.supernet.options import SupernetOptions
from nas.methods.supernet.scorer import SupernetScoring
from nas.run import atomic_write
from nas.training import recalibrate
from nas.training.evaluation import scoring_batches

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

ROOT = Path(__file__).resolve().parents[2]
RESULTS, TRUTH = ROOT / "results" / "recalibration", ROOT / "results" / "hybrid-truth" / "truth.csv"
COMMAND = "python experiments/recalibration/run.py --supernet runs/supernet --work runs/recalibration"
RECALIBRATION, VALIDATION = (64, 128, 256, 512, 1024, 2048), (125, 250, 500, 1000, 2000)
DRAWS = 2
"""Of the training images that recalibrate; the first is the order in which a search takes them."""
PARTS = 20
"""Draws of the search-validation images, where not all are used; the first is again a search's own."""


def truth_of_band() -> tuple[list[Architecture], list[float]]:
    """The networks of equal cost, and what each is worth trained alone."""
    with TRUTH.open() as file:
        rows = [row for row in csv.DictReader(file) if row["group"] == "band"]
    architectures = [Architecture.from_dict(json.loads(row["architecture"])) for row in rows]
    return architectures, [float(row["test_accuracy"]) for row in rows]


def drawn(data: Dataset, draw: int) -> Dataset:
    """The data with its training images in another order, of which recalibration takes the first."""
    if draw == 0:
        return data
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(draw))
    return replace(data, train=Split(images=data.train.images[order], labels=data.train.labels[order]))


def score(source: SupernetScoring, networks: Sequence[Architecture], images: int, draw: int, path: Path) -> None:
    """What each network says of every search-validation image after recalibration, unless it is on disk."""
    if path.exists():
        return
    data = drawn(source.data, draw)
    right: list[np.ndarray] = []
    losses: list[np.ndarray] = []
    seconds: list[tuple[float, float, float]] = []
    for architecture in networks:
        began = time.process_time()
        network = source.supernet.extract(architecture)
        taken = time.process_time()
        recalibrate(network, data, source.recipe, images=images)
        ready = time.process_time()
        network.eval()
        found: list[tuple[torch.Tensor, torch.Tensor]] = []
        with torch.inference_mode():
            for x, labels in scoring_batches(data.search_validation, data, source.recipe):
                logits = network(x)
                found.append((logits.argmax(1) == labels, F.cross_entropy(logits, labels, reduction="none")))
        seconds.append((taken - began, ready - taken, time.process_time() - ready))
        right.append(torch.cat([each for each, _ in found]).numpy())
        losses.append(torch.cat([each for _, each in found]).numpy())
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, right=np.stack(right), losses=np.stack(losses), seconds=np.array(seconds))
    os.replace(unfinished, path)
    print(f"{images} images, draw {draw}: {np.array(seconds).mean(0).round(3)} s a network", flush=True)


def measure(supernet: str, work: Path) -> None:
    """Every count of recalibration images with every draw, one draw after the other."""
    torch.set_num_threads(1)
    method = SupernetMethod("supernet", SupernetOptions())
    source = method.scoring_of(supernet, nas.load_space("coatnet-small"))
    networks, _ = truth_of_band()
    assert source.recipe.dtype == "float32"
    assert len(source.data.search_validation) == VALIDATION[-1]
    atomic_write(work / "made.json", json.dumps(provenance(COMMAND)))
    for draw in range(DRAWS):
        for images in RECALIBRATION:
            score(source, networks, images, draw, work / f"{images}-{draw}.npz")


def parts(count: int) -> list[np.ndarray]:
    """Draws of so many search-validation images."""
    everything = np.arange(VALIDATION[-1])
    if count == len(everything):
        return [everything]
    return [everything[:count]] + [np.random.default_rng(i).permutation(everything)[:count] for i in range(1, PARTS)]


def collect(work: Path) -> None:
    """Writes what every pair of counts is worth, beside the greatest pair."""
    _, truth = truth_of_band()
    said = {
        (n, d): np.load(path) for n in RECALIBRATION for d in range(DRAWS) if (path := work / f"{n}-{d}.npz").exists()
    }
    metrics: dict[str, Callable[[Any, np.ndarray], np.ndarray]] = {
        "accuracy": lambda each, part: each["right"][:, part].mean(1),
        "loss": lambda each, part: -each["losses"][:, part].mean(1),
    }
    loaded = {key: {name: each[name] for name in each.files} for key, each in said.items()}
    setting_up, _, scoring = np.concatenate([each["seconds"] for each in loaded.values()]).mean(0)
    rows: list[dict[str, Any]] = []
    for metric, value in metrics.items():
        most = value(loaded[RECALIBRATION[-1], 0], np.arange(VALIDATION[-1]))
        for images in RECALIBRATION:
            draws = {draw: each for (n, draw), each in loaded.items() if n == images}
            recalibrating = np.concatenate([each["seconds"][:, 1] for each in draws.values()]).mean()
            for count in VALIDATION:
                scores = {(d, i): value(each, part) for d, each in draws.items() for i, part in enumerate(parts(count))}
                row = {"metric": metric, "recalibration_images": images, "validation_images": count}
                seconds = setting_up + recalibrating + scoring * count / VALIDATION[-1]
                rows.append({**row, **worth(scores, truth, most), "cpu_seconds": round(float(seconds), 3)})
    whole = {
        (metric, key): value(each, np.arange(VALIDATION[-1]))
        for metric, value in metrics.items()
        for key, each in loaded.items()
    }
    beside = {
        "spearman_of_two_draws": {
            metric: {n: round(spearman(whole[metric, (n, 0)], whole[metric, (n, 1)]), 4) for n in RECALIBRATION}
            for metric in metrics
        },
        "loss_less_accuracy": advantage(whole["loss", (512, 0)], whole["accuracy", (512, 0)], np.array(truth)),
    }
    write(rows, work, len(truth), beside)


def advantage(first: np.ndarray, second: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """How much better one score orders the networks than another: 95 % percentile interval over networks."""
    drawn_rows = np.random.default_rng(0).integers(0, len(truth), (2000, len(truth)))
    found = [spearman(first[i], truth[i]) - spearman(second[i], truth[i]) for i in drawn_rows]
    low, high = np.percentile(found, [2.5, 97.5])
    difference = spearman(first, truth) - spearman(second, truth)
    return {"spearman": round(difference, 4), "low": round(low, 4), "high": round(high, 4)}


def worth(scores: dict[tuple[int, int], np.ndarray], truth: Sequence[float], most: np.ndarray) -> dict[str, Any]:
    """Figures over all draws; agreement is with the score from the most images, over draws with other ones."""
    known = np.array(truth)
    better = np.argsort(-known)[: len(known) // 2]
    rhos = [spearman(each, known) for each in scores.values()]
    agreed = [spearman(each, most) for (draw, _), each in scores.items() if draw > 0]
    return {
        "draws": len(rhos),
        "spearman": _mean(rhos),
        "spearman_sd": round(statistics.pstdev(rhos), 4),
        "spearman_least": round(min(rhos), 4),
        "as_a_search_takes_them": round(spearman(scores[0, 0], known), 4),
        "better_half": _mean([spearman(each[better], known[better]) for each in scores.values()]),
        "regret_of_best": _mean([top_k_regret(each, known, k=1) for each in scores.values()]),
        "agreement": _mean(agreed) if agreed else "",
        "agreement_least": round(min(agreed), 4) if agreed else "",
    }


def write(rows: list[dict[str, Any]], work: Path, networks: int, beside: dict[str, Any]) -> None:
    """`images.csv` and `summary.json`."""
    write_rows(RESULTS / "images.csv", rows)
    pick = partial(_pick, rows)
    summary = {
        **json.loads((work / "made.json").read_text()),
        "networks": networks,
        "draws_of_recalibration_images": DRAWS,
        "draws_of_validation_images": PARTS,
        "default": {metric: pick(metric, 512, 2000) for metric in ("accuracy", "loss")},
        "most": {metric: pick(metric, 2048, 2000) for metric in ("accuracy", "loss")},
        "spearman_by_recalibration_images": {
            metric: {n: pick(metric, n, 2000)["spearman"] for n in RECALIBRATION} for metric in ("accuracy", "loss")
        },
        "spearman_by_validation_images": {
            metric: {n: pick(metric, 512, n)["spearman"] for n in VALIDATION} for metric in ("accuracy", "loss")
        },
        **beside,
    }
    atomic_write(RESULTS / "summary.json", json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary, indent=1))


def _mean(values: list[float]) -> float:
    return round(statistics.mean(values), 4)


def _pick(rows: list[dict[str, Any]], metric: str, images: int, count: int) -> dict[str, Any]:
    named = {"metric": metric, "recalibration_images": images, "validation_images": count}
    return next(row for row in rows if named.items() <= row.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--supernet", help="a run in coatnet-small with 2,000 search-validation images")
    parser.add_argument("--work", type=Path, default=Path("runs/recalibration"))
    parser.add_argument("--collect", action="store_true")
    asked = parser.parse_args()
    if asked.collect:
        collect(asked.work)
    elif asked.supernet is None:
        parser.error("--supernet is missing")
    else:
        asked.work.mkdir(parents=True, exist_ok=True)
        measure(asked.supernet, asked.work)


if __name__ == "__main__":
    main()
