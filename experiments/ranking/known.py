"""How many full trainings the process needs: what the accuracies that cost N tell about all others.

OMP_NUM_THREADS=1 python experiments/ranking/known.py --table nats_size_cifar10.csv --work runs/ranking
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.architecture import Architecture
from nas.benchmark.oracle_gp import predict_from_known
from nas.benchmark.rank_statistics import bands, spearman, within_parts_spearman
from nas.methods.calibrated.features import FeatureGroups, FeatureScaler
from nas.methods.counted import COUNTS
from nas.methods.features import output_widths
from nas.run import atomic_write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from studies import script
from tables import write_rows

TRAININGS = (2, 3, 4, 6, 7, 8, 12, 16, 24)
# Which networks are chosen is luck as well: among so many, drawn by so many seeds, for the cost of so many.
CANDIDATES, DRAWS, DRAWN_TRAININGS = (128, 1000), 10, (6, 7, 12)
# Channels beyond which a layer's width stops paying, in made-up accuracies of the same networks; their noise is as
# large as makes two of them agree as two splits of the table's own do.
WIDEST, AGREEMENT = (32, 24, 16), 0.963

ranking = script("ranking")


def narrow(networks: Sequence[Architecture], widest: int) -> np.ndarray:
    """Made-up accuracies in percent: by the logarithm of every stage's channels, up to so many, and noise."""
    widths = np.array([output_widths(each) for each in networks], dtype=float)
    pays = np.log(np.minimum(widths, widest)).sum(1)
    noise = np.random.default_rng(0).normal(size=len(pays)) * np.sqrt(1 / AGREEMENT - 1)
    return 90 + (pays - pays.mean()) / pays.std() + noise


def judged(scores: np.ndarray, truth: np.ndarray, macs: np.ndarray, rest: np.ndarray) -> dict[str, Any]:
    """Rank correlations among the rest, in all and inside bands of equal multiply-adds."""
    banded = len(truth) > 999  # the hybrids are one such band
    inside = within_parts_spearman(scores[rest], truth[rest], bands(macs[rest], 20)) if banded else None
    figures = {"spearman": spearman(scores[rest], truth[rest]), "within_bands": inside}
    return {key: "" if value is None else round(value, 4) for key, value in figures.items()}


def told(name: str, networks: Sequence[Architecture], truth: np.ndarray) -> list[dict[str, Any]]:
    """A row for each cost in average trainings; `winner_*` is that in those of the network that then seems best."""
    macs, channels = (np.array([COUNTS[by](each) for each in networks], dtype=float) for by in ("macs", "log_channels"))
    found: list[dict[str, Any]] = []
    for count in TRAININGS:
        if count > len(networks) // 2:
            continue
        known = predict_from_known(networks, truth.tolist(), count)
        rows = list(known.rows)
        rest = np.setdiff1d(np.arange(len(networks)), rows)
        best = int(np.argmax(known.predicted))
        found.append({
            "truth": name, "networks": len(rest), "trainings": count, "known": len(rows),
            **judged(np.array(known.predicted), truth, macs, rest),
            "winner_macs": round(float(macs[rows].sum() / macs[best]), 2),
            "winner_trainings": round(float(known.trainings / known.costs[best]), 2),
            "regret": round(float(truth.max() - truth[best]), 4),
            **{f"log_channels_{key}": value for key, value in judged(channels, truth, macs, rest).items()},
        })  # fmt: skip
        print(found[-1], flush=True)
    return found


def drawn(networks: Sequence[Architecture], truth: np.ndarray) -> list[dict[str, Any]]:
    """A row for each draw of candidates that what is told is chosen among; all others are judged."""
    macs, measured = (
        np.array([COUNTS["macs"](each) for each in networks], dtype=float),
        FeatureGroups.of(networks, None),
    )
    found: list[dict[str, Any]] = []
    for candidates, seed in itertools.product(CANDIDATES, range(DRAWS)):
        kept = np.array(sorted(random.Random(seed).sample(range(len(networks)), candidates)))
        frame = FeatureScaler(FeatureGroups(groups=tuple(group[kept] for group in measured.groups)))
        points, counts = frame.points(measured), frame.standard_counts(measured)
        for count in DRAWN_TRAININGS:
            rows = frame.select(count)
            known = kept[rows]
            expected = frame.fit(rows, [truth[row] / 100 for row in known]).at(points, counts)[0]
            rest = np.setdiff1d(np.arange(len(networks)), known)
            step = frame.costs[0] - macs[kept[0]]  # what a step costs whatever the network
            found.append({
                "candidates": candidates, "seed": seed, "trainings": count, "known": len(rows),
                **judged(expected, truth, macs, rest),
                "winner_trainings": round(float(frame.costs[rows].sum() / (macs[expected.argmax()] + step)), 2),
            })  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="nats_size_cifar10.csv")
    parser.add_argument("--work", type=Path, required=True)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    networks, truth = ranking.read("nats-size", asked.table)
    write_rows(ranking.RESULTS / "known-drawn.csv", drawn(networks, truth))
    rows = told("nats-size", networks, truth)
    for widest in WIDEST:
        rows += told(f"made up: width pays to {widest}", networks, narrow(networks, widest))
    rows += told("coatnet-small", *ranking.read("coatnet-small", ranking.band(asked.work)))
    write_rows(ranking.RESULTS / "known.csv", rows)
    made = provenance(str(__doc__).strip().splitlines()[-1])
    atomic_write(ranking.RESULTS / "known.json", json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
