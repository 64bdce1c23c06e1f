"""How many full trainings the process needs: what N known accuracies tell about all others, and what they cost.

OMP_NUM_THREADS=1 python experiments/ranking/known.py --table nats_size_cifar10.csv --work runs/ranking
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import nas
from nas.benchmark.codecs import decode
from nas.benchmark.known import expected_from_known
from nas.benchmark.tables import read_table
from nas.run import atomic_write
from nas.searching.ranking import bands, spearman, within_parts_spearman

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from studies import script
from tables import write_rows

COUNTS = (2, 3, 4, 6, 8, 12, 16, 24, 32)

ranking = script("ranking")


def told(space: str, table: Path) -> list[dict[str, Any]]:
    """A row for each number of accuracies; costs are multiply-adds over those of the network that then seems best."""
    read = read_table(table)
    networks = decode(nas.load_space(space), read.column(read.architecture_column(None), "--arch-column"), str(table))
    truth = np.array(read.truths(read.truth_column(None)))
    macs = np.array([nas.cost(each).macs for each in networks], dtype=float)
    banded = len(networks) > 999  # the hybrids are one such band
    found: list[dict[str, Any]] = []
    for count in COUNTS:
        if count > len(networks) // 2:
            continue
        rows, expected = expected_from_known(networks, truth.tolist(), count)
        rest = np.setdiff1d(np.arange(len(networks)), rows)
        scores, truths = np.array(expected)[rest], truth[rest]
        best = int(np.argmax(expected))
        found.append({
            "space": space, "networks": len(rest), "known": count,
            "spearman": round(spearman(scores, truths), 4),
            "within_bands": round(within_parts_spearman(scores, truths, bands(macs[rest], 20)), 4) if banded else "",
            "winner_trainings": round(float(macs[rows].sum() / macs[best]), 2),
            "regret": round(float(truth.max() - truth[best]), 4),
        })  # fmt: skip
        print(found[-1], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="nats_size_cifar10.csv")
    parser.add_argument("--work", type=Path, required=True)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    rows = told("nats-size", asked.table) + told("coatnet-small", ranking.band(asked.work))
    write_rows(ranking.RESULTS / "known.csv", rows)
    made = provenance(str(__doc__).strip().splitlines()[-1])
    atomic_write(ranking.RESULTS / "known.json", json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
