"""What is told by a few known accuracies, against the best of what can be counted, on every table at hand.

OMP_NUM_THREADS=1 python experiments/ranking/counting.py --nats nats_size.csv --autoformer vit.csv --work runs/ranking
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

import nas
from nas.benchmark.codecs import decode
from nas.benchmark.oracle_gp import predict_from_known
from nas.benchmark.rank_statistics import spearman
from nas.benchmark.tables import read_table
from nas.methods.counted import COUNTS
from nas.run import atomic_write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from studies import script
from tables import write_rows

BASELINES = ("params", "macs", "log_channels", "convolutions")
TRAININGS, BOUNDS = 7, (math.inf, 3.0)
TRUTHS = ("c100_base_acc", "c100_kd_acc", "flower_base_acc", "flower_kd_acc", "chaoyang_base_acc", "chaoyang_kd_acc")

ranking = script("ranking")


def judged(networks: list[Any], truth: np.ndarray, bound: float) -> dict[str, Any]:
    """Rank correlations on the networks that are not told; `counted` is the best baseline's, in hindsight."""
    limit = {} if math.isinf(bound) else {"winner_trainings": bound}
    known = predict_from_known(networks, truth.tolist(), TRAININGS, **limit)
    predicted, rows = np.array(known.predicted), list(known.rows)
    rest = np.setdiff1d(np.arange(len(networks)), rows)
    counts = {by: np.array([COUNTS[by](each) for each in networks], dtype=float)[rest] for by in BASELINES}
    rhos = {by: spearman(values, truth[rest]) for by, values in counts.items() if values.std() > 0}
    best = max(rhos, key=rhos.__getitem__)
    rho = spearman(predicted[rest], truth[rest])
    return {
        "bound": "" if math.isinf(bound) else bound, "told": len(rows),
        "rho": round(rho, 3), "counted": round(rhos[best], 3), "by": best, "below": round(rhos[best] - rho, 3),
        "winner_trainings": round(known.trainings / float(known.costs[predicted.argmax()]), 1),
        "regret": round(float(truth.max() - truth[predicted.argmax()]), 3),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nats", type=Path, required=True, help="nats_size_cifar10.csv")
    parser.add_argument("--autoformer", type=Path, required=True, help="autoformer_vit_200.csv")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--bounds", type=float, nargs="*", default=BOUNDS, help="trainings of the winner; inf for none")
    parser.add_argument("--name", default="counting", help="of the file in results/ranking")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    tables = {"hybrids": ranking.read("coatnet-small", ranking.band(asked.work))}
    table = read_table(asked.autoformer)
    texts = table.column(table.architecture_column(None), "--arch-column")
    networks = decode(nas.load_space("autoformer"), texts, str(asked.autoformer))
    for column in TRUTHS:
        tables[f"autoformer {column}"] = (networks, np.array(table.truths(column)))
    tables["nats-size"] = ranking.read("nats-size", asked.nats)
    rows: list[dict[str, Any]] = []
    for name, (members, truth) in tables.items():
        kept = np.flatnonzero(~np.isnan(truth))
        for bound in asked.bounds:
            rows.append(
                {"table": name, "networks": len(kept), **judged([members[i] for i in kept], truth[kept], bound)}
            )
            print(rows[-1], flush=True)
    write_rows(ranking.RESULTS / f"{asked.name}.csv", rows)
    made = provenance(str(__doc__).strip().splitlines()[-1])
    atomic_write(ranking.RESULTS / f"{asked.name}.json", json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
