"""What a calibration loses if it may cost three trainings of the winner, whose cost is taken for the largest network's.

OMP_NUM_THREADS=1 python experiments/choosing-trainings/largest.py     # see README.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from kinds import TRAININGS, bounded, counting, judged, sampled, summary
from made_up import SPACES, members

from nas.methods.calibrated.features import FeatureGroups, FeatureScaler
from nas.run import atomic_write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

RESULTS = Path(__file__).resolve().parents[2] / "results" / "choosing-trainings"
SEED, PER, MOST = 5, 2, 3


def main() -> None:
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for name in SPACES:
        networks, rng = members(name), np.random.default_rng(SEED)
        scaler = FeatureScaler(FeatureGroups.of(networks, None))
        costs = scaler.costs / scaler.costs.mean()
        free, few = scaler.select(TRAININGS), scaler.select(min(TRAININGS, MOST * costs.max()))
        print(f"{name}: {len(free)} trainings, {len(few)} of at most {MOST} of the largest", flush=True)
        ways: dict[str, Any] = {
            "seven average trainings": (free, counting),
            "and at most 3 of the largest network": (few, counting),
            "and at most 3 of the one that seems best": (free, bounded(MOST)),
        }
        for _, images, truth, accuracies in sampled(networks, scaler, PER, rng):
            for way, (rows, fit) in ways.items():
                told = fit(scaler, rows, accuracies, images)
                found.setdefault((way, name), []).append(judged(networks, scaler, told, truth))
    rows: list[dict[str, Any]] = []
    for way in dict.fromkeys(way for way, _ in found):
        for space in ("all", *SPACES):
            some = [
                each
                for (its, place), each_s in found.items()
                if its == way and space in ("all", place)
                for each in each_s
            ]
            rows.append({"way": way, "space": space, **summary(some)})
        print(next(row for row in rows if row["way"] == way), flush=True)
    write_rows(RESULTS / "largest.csv", rows)
    told = provenance("python experiments/choosing-trainings/largest.py")
    atomic_write(RESULTS / "largest.json", json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
