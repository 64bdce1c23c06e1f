"""What two scores of the same blocks are worth, before and after a short training; see README.md."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nas
from nas.benchmark.codecs import decode
from nas.benchmark.rank_statistics import bootstrap_spearman, groups, interval, kendall, spearman, within_parts_spearman
from nas.budget import Budget
from nas.data import Dataset, open_data
from nas.methods.blockwise.blocks import Blocks
from nas.methods.blockwise.bootstrapping import Bootstrapping, Heads, PublishedBootstrapping, bootstrapping_recipe
from nas.methods.blockwise.cell_scorer import CellScorer, path_scores
from nas.methods.blockwise.method import budget_blocks
from nas.methods.blockwise.network import BlockSupernet
from nas.methods.blockwise.options import BOSSNAS, STANDARDIZED
from nas.methods.blockwise.training import SideBySideTraining
from nas.methods.features import kinds
from nas.progress import Silent
from nas.run import atomic_write
from nas.sampling import BudgetSampler
from nas.training import Recipe

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

ROOT = Path(__file__).resolve().parents[2]
RESULTS, TRUTH = ROOT / "results" / "block-scores", ROOT / "results" / "hybrid-truth" / "truth.csv"
BUDGET, PIXELS, IMAGES = "5.3MFLOPs", 32, 128
TARGETS = {STANDARDIZED: Bootstrapping, BOSSNAS: PublishedBootstrapping}
# Either distance under both rules, so that it shows which of the two matters.
SUMS = (STANDARDIZED, BOSSNAS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="CIFAR-10 as an .npz file")
    parser.add_argument("--seeds", type=int, default=2, help="of initial weights, untrained")
    parser.add_argument("--images", type=int, default=2000, help="that train, once, with the first seed")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    space = nas.load_space("coatnet-small")
    with TRUTH.open() as file:
        known = [row for row in csv.DictReader(file) if row["group"] == "band"]
    networks = decode(space, tuple(row["architecture"] for row in known), str(TRUTH))
    truth = [float(row["test_accuracy"]) for row in known]
    data = open_data(asked.data).load(resolution=PIXELS, seed=0)
    rows: list[dict[str, Any]] = []
    began = time.process_time()
    for seed in range(asked.seeds):
        blocks = budget_blocks(BudgetSampler(space, [Budget.parse(BUDGET)], min_share=0.75), seed=seed)
        supernet = BlockSupernet(space, blocks, Heads(hidden=1024, features=256), seed=seed)
        for images in (0, asked.images) if seed == 0 else (0,):
            recipe = bootstrapping_recipe(Recipe(epochs=1, batch_size=64, seed=seed))
            if images:
                train(supernet, data, recipe, images)
            for kind, target in TARGETS.items():
                scorer = CellScorer(
                    supernet,
                    data,
                    recipe,
                    target=target("crop-flip"),
                    recalibration_images=IMAGES,
                    validation_images=IMAGES,
                    seed=seed,
                )
                distances = {cell: scorer.distances(cell) for cell in blocks.cells}
                for rule in SUMS:
                    scores = sums(blocks, networks, {cell: path_scores(rule, d) for cell, d in distances.items()})
                    rows.append(
                        {
                            "distance": kind,
                            "sums": rule,
                            "images": images,
                            "seed": seed,
                            **judged(scores, truth, networks),
                        }
                    )
                    print(rows[-1], round(time.process_time() - began), flush=True)
    write_rows(RESULTS / "scores.csv", rows)
    typed = " ".join(Path(each).name if "/" in each else each for each in sys.argv[1:])
    summary = {
        **provenance(f"python experiments/block-scores/run.py {typed}"),
        "cpu_seconds": round(time.process_time() - began),
    }
    atomic_write(RESULTS / "summary.json", json.dumps(summary, indent=1) + "\n")


def train(supernet: BlockSupernet, data: Dataset, recipe: Recipe, images: int) -> None:
    """All blocks side by side, on each image once."""
    few = replace(data, train=data.train.first(images))
    SideBySideTraining(supernet, few, recipe, target=Bootstrapping("crop-flip")).run(Silent(), lambda row: None)


def sums(blocks: Blocks, networks: list[Any], scores: dict[Any, list[float]]) -> list[float]:
    """The sum over blocks of each network's path's score."""
    number = {cell: {path: k for k, path in enumerate(paths)} for cell, paths in blocks.cells.items()}
    routes = [blocks.route(blocks.space.encode(each)) for each in networks]
    return [sum(scores[cell][number[cell][path]] for cell, path in route) for route in routes]


def judged(scores: list[float], truth: list[float], networks: list[Any]) -> dict[str, float]:
    """The rank correlation with 95 % of the bootstrap's resamples, and its mean inside networks of one layout."""
    resampled = bootstrap_spearman({"score": np.array(scores)}, np.array(truth), seed=0, resamples=2000)
    low, high = interval(resampled["score"])
    within = within_parts_spearman(scores, truth, groups([kinds(each) for each in networks]))
    figures = {"spearman": spearman(scores, truth), "low": low, "high": high, "kendall": kendall(scores, truth)}
    return {name: round(value, 4) for name, value in {**figures, "within_layout": within}.items()}


if __name__ == "__main__":
    main()
