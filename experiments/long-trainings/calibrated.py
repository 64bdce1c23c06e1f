"""How well `calibrated`, fitted to the first epochs of some of the long trainings, predicts the final order of all.

    python experiments/long-trainings/calibrated.py --data cifar10.npz

Trains nothing: a search's calibrations are the first epochs of its finalists' trainings, which `curves.csv` has.
Writes `results/long-trainings/calibrated.csv`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from nas.architecture import Architecture
from nas.benchmark.rank_statistics import kendall, spearman
from nas.data import open_data
from nas.methods.calibrated.calibration import Calibration, chosen_rows
from nas.methods.calibrated.features import FeatureGroups, Proxies
from nas.methods.zero_cost.proxy_cache import ProxyValues

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from studies import script
from tables import read_rows, write_rows

trainings = script("long-trainings")
RESULTS, SIDE = trainings.RESULTS, trainings.SIDE
EPOCHS, TRAINED = (1, 2, 3, 6), (4, 6)
DRAWS = 50  # subsets at random, beside the one that the method chooses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    members = read_rows(RESULTS / "members.csv")
    networks = [Architecture.from_dict(json.loads(row["architecture"])) for row in members]
    final = [float(row["test_accuracy"]) for row in members]
    curves = trainings.kept_curves()
    data = open_data(str(args.data)).load(resolution=SIDE, seed=0)
    reference = FeatureGroups.of(networks, Proxies(ProxyValues(data, seed=0)))

    def judge(trained: Sequence[int], epochs: int) -> tuple[float, float, float]:
        """Spearman and Kendall with the final order of all, and Spearman of those that were not trained."""
        calibration = Calibration(
            reference=reference,
            digests=tuple(network.digest for network in networks),
            trained=tuple((row, curves[networks[row].digest, SIDE][epochs]) for row in trained),
            images=trainings.WATCHED,
        )
        predicted = [float(value) for value in calibration.predict(reference)]
        others = [row for row in range(len(networks)) if row not in set(trained)]
        return (
            spearman(predicted, final),
            kendall(predicted, final),
            spearman([predicted[row] for row in others], [final[row] for row in others]),
        )

    rows: list[dict[str, object]] = []
    for compute in TRAINED:
        draw = random.Random(0)
        chosen = chosen_rows(reference, compute)
        drawn = [sorted(draw.sample(range(len(networks)), len(chosen))) for _ in range(DRAWS)]
        for epochs in EPOCHS:
            measured = [judge(subset, epochs) for subset in drawn]
            everyone, _, others = (list(column) for column in zip(*measured, strict=True))
            rho, tau, unseen = judge(chosen, epochs)
            rows.append(
                {
                    "epochs": epochs,
                    "trained": len(chosen),
                    "of": len(networks),
                    "spearman": f"{rho:.4f}",
                    "kendall": f"{tau:.4f}",
                    "spearman_of_others": f"{unseen:.4f}",
                    "at_random_spearman": f"{mean(everyone):.4f}",
                    "at_random_deviation": f"{stdev(everyone):.4f}",
                    "at_random_spearman_of_others": f"{mean(others):.4f}",
                    "draws": DRAWS,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    write_rows(RESULTS / "calibrated.csv", rows)


if __name__ == "__main__":
    main()
