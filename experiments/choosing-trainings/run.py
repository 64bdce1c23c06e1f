"""Which networks to train for a calibration: ways to choose them, on made-up accuracies; see README.md.

OMP_NUM_THREADS=1 python experiments/choosing-trainings/run.py
"""

from __future__ import annotations

import json
import random
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np

import nas
from nas.benchmark.rank_statistics import spearman
from nas.methods.calibrated.features import FeatureGroups, FeatureScaler
from nas.methods.calibrated.gaussian_process import select_by_variance_reduction
from nas.methods.calibrated.kernels import NOISE, prior
from nas.run import atomic_write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

RESULTS = Path(__file__).resolve().parents[2] / "results" / "choosing-trainings"
MEMBERS, FUNCTIONS, COUNTS = {"nats-size": 600, "coatnet-small": 400, "hytra": 400}, 200, (6, 12, 32)
# Of a training, as a share of the accuracies' variance: what two seeds of one network differ by.
SPREAD = NOISE / 4


def far_apart(points: np.ndarray, count: int) -> list[int]:
    """The most central, then always the one farthest from those chosen (Gonzalez 1985)."""
    chosen = [int(((points - points.mean(0)) ** 2).sum(1).argmin())]
    while len(chosen) < count:
        distances = ((points[:, None] - points[None, chosen]) ** 2).sum(2).min(1)
        chosen.append(int(distances.argmax()))
    return chosen


def central(points: np.ndarray, count: int) -> list[int]:
    """Greedy medoids: always the one that brings all nearest to one that is chosen."""
    distances = ((points[:, None] - points[None]) ** 2).sum(2)
    nearest, chosen = np.full(len(points), np.inf), []
    for _ in range(count):
        left = np.minimum(nearest, distances).sum(1)
        left[chosen] = np.inf
        chosen.append(int(left.argmin()))
        nearest = np.minimum(nearest, distances[chosen[-1]])
    return chosen


def expected(covariance: np.ndarray, rows: list[int], numbers: np.ndarray) -> np.ndarray:
    """What the process expects of all that knows the numbers of some."""
    known = covariance[np.ix_(rows, rows)] + SPREAD * np.eye(len(rows))
    return covariance[:, rows] @ np.linalg.solve(known, numbers - numbers.mean())


def main() -> None:
    rows: list[dict[str, Any]] = []
    for name, members in MEMBERS.items():
        space, drawing, rng = nas.load_space(name), random.Random(0), np.random.default_rng(0)
        frame = FeatureScaler(FeatureGroups.of([space.sample(drawing) for _ in range(members)], None))
        points, costs, kernel = frame.reference, frame.costs, prior(frame.widths)
        covariance: Any = kernel(points)  # type: ignore[operator]
        lower = np.linalg.cholesky(covariance + 1e-8 * np.eye(members))
        for count in COUNTS:
            telling = select_by_variance_reduction(points, frame.widths, count)
            # For the cost of those, whatever their number.
            affordable = costs[telling].sum() / costs.mean()
            fixed = {
                "least variance left": telling,
                "least variance left, for its cost": select_by_variance_reduction(
                    points, frame.widths, affordable, costs
                ),
                "far apart": far_apart(points, count),
                "medoids": central(points, count),
            }
            found: dict[str, list[tuple[float, float]]] = {way: [] for way in [*fixed, "at random"]}
            for _ in range(FUNCTIONS):
                truth = lower @ rng.normal(size=members)
                measured = truth + SPREAD**0.5 * rng.normal(size=members)
                for way, known in found.items():
                    chosen = fixed.get(way) or rng.choice(members, count, replace=False).tolist()
                    scores = expected(covariance, chosen, measured[chosen])
                    regret = (truth.max() - truth[scores.argmax()]) / truth.std()
                    known.append((spearman(scores.tolist(), truth.tolist()), float(regret)))
            for way, known in found.items():
                rhos, regrets = zip(*known, strict=True)
                chosen = fixed.get(way, [])
                row: dict[str, Any] = {"space": name, "trainings": len(chosen) or count, "chosen": way}
                row["cost"] = round(float(costs[chosen].sum() / costs.mean()), 2) if chosen else count
                row["rho"] = round(statistics.mean(rhos), 4)
                row["rho_error"] = round(statistics.stdev(rhos) / FUNCTIONS**0.5, 4)
                rows.append({**row, "regret": round(statistics.mean(regrets), 4)})
                print(rows[-1], flush=True)
    write_rows(RESULTS / "ways.csv", rows)
    told = {**provenance("python experiments/choosing-trainings/run.py"), "members": MEMBERS, "functions": FUNCTIONS}
    atomic_write(RESULTS / "summary.json", json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
