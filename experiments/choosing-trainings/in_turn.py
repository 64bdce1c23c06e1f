"""Are trainings better chosen one after another, by expected improvement, than all at once by variance? See README.md.

OMP_NUM_THREADS=1 python experiments/choosing-trainings/in_turn.py [SEED [FUNCTIONS]]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from kinds import TRAININGS, counting, judged, sampled, summarized
from made_up import SPACES, members
from scipy.stats import norm

from nas.methods.calibrated.features import FeatureGroups, FeatureScaler
from nas.run import atomic_write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

RESULTS = Path(__file__).resolve().parents[2] / "results" / "choosing-trainings"
SEED, PER, CHOSEN_ON = 7, 2, 6


def first_rows(scaler: FeatureScaler, compute: float, *, given: list[int]) -> list[int]:
    """Rows that reduce variance most, for a part of the compute, after those given."""
    left = compute - relative(scaler)[given].sum()
    rows = [row for row in scaler.select(TRAININGS) if row not in given]
    kept = list(given)
    for row in rows:
        if relative(scaler)[row] <= left:
            kept.append(row)
            left -= relative(scaler)[row]
    return kept


def relative(scaler: FeatureScaler) -> np.ndarray:
    """Costs (N,) in trainings of the average network."""
    return scaler.costs / scaler.costs.mean()


def improving(
    scaler: FeatureScaler, rows: list[int], accuracies: np.ndarray, images: int, *, by: str, at_once: int
) -> list[int]:
    """The rows given, and those that then look best, one or a few at a time, until the compute is spent.

    Args:
        by: `improvement` for the expected improvement on the best mean so far, per root of cost (Snoek et al. 2012,
            Practical Bayesian Optimization); `mean` for the highest predicted mean.
    """
    costs, rows = relative(scaler), list(rows)
    while (affordable := np.setdiff1d(np.flatnonzero(costs <= TRAININGS + 1e-9 - costs[rows].sum()), rows)).size:
        mean, deviation = scaler.fit(rows, accuracies[rows], images).at(scaler.reference, scaler.counts)
        if by == "mean":
            worth = mean
        else:
            z = (mean - mean[rows].max()) / np.maximum(deviation, 1e-9)
            worth = deviation * (z * norm.cdf(z) + norm.pdf(z)) / np.sqrt(costs)
        for row in affordable[np.argsort(-worth[affordable], kind="stable")][:at_once]:
            if costs[row] <= TRAININGS + 1e-9 - costs[rows].sum():
                rows.append(int(row))
    return rows


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else SEED
    per = int(sys.argv[2]) if len(sys.argv) > 2 else PER
    ways: dict[str, tuple[float, str, int]] = {
        "all at once, by variance (as it is)": (1.0, "", 0),
        "half, then by improvement, one at a time": (0.5, "improvement", 1),
        "half, then by improvement, two at a time": (0.5, "improvement", 2),
        "two thirds, then by improvement": (2 / 3, "improvement", 1),
        "half, then the best mean": (0.5, "mean", 1),
    }
    found: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for name in SPACES:
        networks, rng = members(name), np.random.default_rng(seed)
        scaler = FeatureScaler(FeatureGroups.of(networks, None))
        sizes = [int(np.argmax(scaler.counts[:, column])) for column in (0, 3)]
        for kind, images, truth, accuracies in sampled(networks, scaler, per, rng):
            # As a search's portfolio, which trains in any case: the largest by two counts, and one at random.
            given = list(dict.fromkeys([*sizes, int(rng.integers(len(networks)))]))
            for way, (part, by, at_once) in ways.items():
                rows = first_rows(scaler, part * TRAININGS, given=given)
                if by:
                    rows = improving(scaler, rows, accuracies, images, by=by, at_once=at_once)
                told = judged(networks, scaler, counting(scaler, rows, accuracies, images), truth)
                told["trained_regret"] = float((truth.max() - truth[rows].max()) / truth.std())
                told["cost"] = float(relative(scaler)[rows].sum())
                found.setdefault((way, name, kind), []).append(told)
        print(name, flush=True)
    rows = summarized(found)
    if seed == CHOSEN_ON:
        return
    write_rows(RESULTS / "in_turn.csv", rows)
    told = provenance("python experiments/choosing-trainings/in_turn.py")
    atomic_write(RESULTS / "in_turn.json", json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
