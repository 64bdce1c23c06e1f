"""Are long trainings foretold better by two lengths of shorter ones than by the longer of these alone?

OMP_NUM_THREADS=1 python experiments/looking-ahead/run.py --data cifar10.npz --work runs/ranking --table nats_size.csv
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import norm

import nas
from nas.benchmark.codecs import decode
from nas.benchmark.rank_statistics import pearson, spearman
from nas.benchmark.tables import read_table
from nas.methods.calibrated.gaussian_process import AveragedGP
from nas.run import atomic_write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from growing import Ahead
from provenance import provenance
from studies import script
from tables import write_rows

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "looking-ahead"
# Truth, training images, seed, and networks beside the twelve that are told.
SETTINGS = (("hybrid", 1437, 0, 10), ("hybrid", 1437, 1, 10), ("nats", 10_000, 0, 0))
SHORT, LONGER, LONG = 1, 3, 9
# What is told before a truth is looked at.
TOLD = {"hybrid": ((1, 3),), "nats": ((1, 3), (3, 9))}

fitting, ranking = script("fitting-calibrations"), script("ranking")


class Networks:
    """Those of one truth, and what their own trainings reached."""

    def __init__(self, asked: argparse.Namespace, name: str, images: int, seed: int, held: int) -> None:
        known = asked.work / f"{name}-{images}"
        known.mkdir(parents=True, exist_ok=True)
        data = ranking.first_images(asked.data, images, known)
        table = read_table(ranking.band(known) if name == "hybrid" else asked.table)
        texts = table.column(table.architecture_column(None), "--arch-column")
        kept = list(range(len(texts)))
        if name == "nats":
            kept = sorted(random.Random(seed).sample(kept, ranking.NATS_ROWS))
        truths = table.truths(table.truth_column(None))
        self.truths = np.array([truths[row] for row in kept])
        space = nas.load_space("coatnet-small" if name == "hybrid" else "nats-size")
        networks = decode(space, tuple(texts[row] for row in kept), str(table.path))
        found = {epochs: fitting.trained(networks, data, known, epochs, seed, held) for epochs in (SHORT, LONGER, LONG)}
        self.frame, self.told, _ = found[LONG]
        self.reached: dict[int, dict[int, float]] = {epochs: each[2] for epochs, each in found.items()}
        # The truth's trainings, in epochs of these images.
        seen = ranking.HYBRID_IMAGES if name == "hybrid" else ranking.NATS_IMAGES
        self.truth_epochs = seen / ranking.training_images(data)

    def near(self, epochs: int) -> AveragedGP:
        """What the told ones reached after so many epochs makes expected of all."""
        return AveragedGP(
            self.frame.reference[self.told], [self.reached[epochs][row] for row in self.told], self.frame.widths
        )

    def ahead(self, *lengths: int) -> Ahead:
        """The same for trainings of two lengths."""
        numbers = [self.reached[epochs][row] for epochs in lengths for row in self.told]
        times = [epochs for epochs in lengths for _ in self.told]
        return Ahead(self.frame.reference[self.told * len(lengths)], numbers, self.frame.widths, times)


def foretold(networks: Networks) -> dict[str, dict[str, float]]:
    """How well each way foretells own trainings of nine epochs, from what the told ones reached after one and three."""
    rows = list(networks.reached[LONG])
    short, longer, truth = (
        np.array([networks.reached[epochs][row] for row in rows]) for epochs in (SHORT, LONGER, LONG)
    )
    points = networks.frame.reference[rows]
    line = longer + (longer - short) * math.log(LONG / LONGER, LONGER / SHORT)
    return {
        "their own, three epochs": judged(longer, None, truth),
        "their own, along a line": judged(line, None, truth),
        "the process, three epochs": judged(*networks.near(LONGER).at(points), truth),
        "the process, one and three": judged(*networks.ahead(SHORT, LONGER).at(points, LONG), truth),
    }


def judged(mean: np.ndarray, deviation: np.ndarray | None, truth: np.ndarray) -> dict[str, float]:
    """Correlations with the truth, log density, and how far off in accuracy (percentage points)."""
    expected, found = (1 / (1 + np.exp(-each)) for each in (mean, truth))
    return {
        "pearson": pearson(mean, truth),
        "spearman": spearman(mean, truth),
        "log_density": math.nan if deviation is None else float(norm.logpdf(truth, mean, deviation).mean()),
        "off_points": float(100 * np.abs(expected - found).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as an .npz file")
    parser.add_argument("--work", type=Path, required=True, help="that of experiments/ranking, or a fresh one")
    parser.add_argument("--table", type=Path, required=True, help="nats_size_cifar10.csv")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    own: list[dict[str, Any]] = []
    true: list[dict[str, Any]] = []
    for name, images, seed, held in SETTINGS:
        networks = Networks(asked, name, images, seed, held)
        where = {"networks": name, "images": images, "seed": seed}
        for way, figures in foretold(networks).items():
            rounded = {key: round(value, 3) for key, value in figures.items()}
            own.append({**where, "n": len(networks.reached[LONG]), "way": way, **rounded})
            print(own[-1], flush=True)
        points = networks.frame.reference
        for lengths in TOLD[name]:
            near = networks.near(lengths[-1]).at(points)[0]
            ahead = networks.ahead(*lengths).at(points, networks.truth_epochs)[0]
            rho = {"the longer": spearman(near, networks.truths), "both, ahead": spearman(ahead, networks.truths)}
            rounded = {key: round(value, 3) for key, value in rho.items()}
            told = " and ".join(map(str, lengths))
            true.append({**where, "n": len(points), "told": told, "ahead": round(networks.truth_epochs), **rounded})
            print(true[-1], flush=True)
    write_rows(RESULTS / "own-trainings.csv", own)
    write_rows(RESULTS / "truths.csv", true)
    made = provenance(str(__doc__).strip().splitlines()[-1])
    atomic_write(RESULTS / "summary.json", json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
