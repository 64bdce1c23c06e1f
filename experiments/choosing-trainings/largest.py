"""What a calibration loses if it may cost three trainings of the winner, whose cost is taken for the largest network's.

OMP_NUM_THREADS=1 python experiments/choosing-trainings/largest.py     # see README.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from kinds import TRAININGS, bounded, counting, judged, sampled, summarized
from made_up import SPACES, members

from nas.methods.calibrated.features import FeatureGroups, FeatureScaler
from nas.run import atomic_write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

RESULTS = Path(__file__).resolve().parents[2] / "results" / "choosing-trainings"
SEED, PER, MOST = 5, 2, 3


def main() -> None:
    found: dict[tuple[str, str, str], list[dict[str, float]]] = {}
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
        for kind, images, truth, accuracies in sampled(networks, scaler, PER, rng):
            for way, (rows, fit) in ways.items():
                told = fit(scaler, rows, accuracies, images)
                found.setdefault((way, name, kind), []).append(judged(networks, scaler, told, truth))
    # Of all kinds together: there are few functions of each.
    rows = [row for row in summarized(found) if row.pop("kind") == "all"]
    write_rows(RESULTS / "largest.csv", rows)
    told = provenance("python experiments/choosing-trainings/largest.py")
    atomic_write(RESULTS / "largest.json", json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
