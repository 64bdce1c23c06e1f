"""How to fit a calibrated score's process: the likeliest sizes or the mean over all, on trainings it was not told of.

OMP_NUM_THREADS=1 python experiments/fitting-calibrations/run.py --data cifar10.npz --work runs/ranking
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import norm

import nas
from nas.architecture import Architecture
from nas.benchmark.codecs import decode
from nas.benchmark.rank_statistics import pearson, spearman
from nas.benchmark.tables import read_table
from nas.methods.calibrated.features import FeatureGroups, FeatureScaler, Proxies, logit
from nas.methods.calibrated.gaussian_process import AveragedGP, select_by_variance_reduction
from nas.methods.calibrated.kernels import noise, prior
from nas.methods.calibrated.trainings import LedgerTraining
from nas.methods.protocol.ranking import RankingSettings, RankingTask
from nas.methods.zero_cost.proxy_cache import ProxyValues
from nas.progress import Silent
from nas.run import atomic_write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from studies import script
from tables import write_rows

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "fitting-calibrations"
# Training images and epochs of the calibrations of `experiments/ranking`, whose work they share.
SETTINGS = ((10_000, 1, (0, 1, 2)), (1437, 1, (0, 1)), (1437, 3, (0, 1)))
TOLD, HELD = 12, 10
# How long a training may be told by shorter ones: of 1,437 images, seeds 0 and 1.
SHORT, LONG, LONGER_SEEDS = (1, 3), 9, (0, 1)
# Of accuracies after two trainings, one three times as long: between the 0.75 and 0.92 seen before (n from 8 to 20).
# Of counting and accuracies after a whole training: as likely to be anything from 0 to 1.
KEPT, COUNTING = 0.85, 0.5

ranking = script("ranking")


class Likeliest:
    """The same process with the sizes of the greatest marginal likelihood, as it was fitted before."""

    def __init__(self, points: np.ndarray, numbers: Sequence[float], widths: Sequence[int]) -> None:
        from sklearn.gaussian_process import GaussianProcessRegressor

        self._process = GaussianProcessRegressor(
            prior(widths) + noise(), normalize_y=True, n_restarts_optimizer=4, random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a size at its bound is an answer
            self._process.fit(points, np.array(numbers))

    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, deviation = self._process.predict(points, return_std=True)[:2]
        return np.asarray(mean), np.asarray(deviation)


FITS: dict[str, Any] = {"likeliest sizes": Likeliest, "mean over sizes": AveragedGP}


@cache
def trainings(
    work: Path, data: Path, images: int, epochs: int, seed: int
) -> tuple[FeatureScaler, list[int], dict[int, float]]:
    """The hybrids of equal cost as points, the rows that a calibration trains, and log-odds of them and of ten more."""
    known = work / f"hybrid-{images}"
    known.mkdir(parents=True, exist_ok=True)
    table = ranking.band(known)
    found = decode(nas.load_space("coatnet-small"), read_table(table).columns["architecture"], str(table))
    return trained(found, ranking.first_images(data, images, known), known, epochs, seed, HELD)


def trained(
    networks: Sequence[Architecture], data: Path, known: Path, epochs: int, seed: int, held: int
) -> tuple[FeatureScaler, list[int], dict[int, float]]:
    """Networks as points, the rows that a calibration trains, and log-odds of them and of as many more as are held."""
    settings = RankingSettings(data=str(data), seed=seed, work=known / "known", device="cpu")
    space = nas.load_space("coatnet-small")  # methods that train ask for nothing of it
    task = RankingTask(architectures=networks, space=space, settings=settings, progress=Silent())
    proxies = Proxies(ProxyValues(task.data, seed=seed, memory=task.ledger))
    frame = FeatureScaler(FeatureGroups.of(networks, proxies))
    told = select_by_variance_reduction(frame.reference, frame.widths, TOLD)
    rest = [row for row in range(len(networks)) if row not in told]
    train = LedgerTraining(task, epochs)
    rows = [*told, *random.Random(seed).sample(rest, held)]
    return frame, told, {row: logit(train(networks[row], "calibration")) for row in rows}


def figures(fit: Any, frame: FeatureScaler, told: list[int], numbers: dict[int, float]) -> dict[str, float]:
    """Of the trainings left out one by one, and of those that it was never told."""
    points = frame.reference
    left: list[float] = []
    for row in told:
        others = [each for each in told if each != row]
        mean, deviation = fit(points[others], [numbers[each] for each in others], frame.widths).at(points[[row]])
        left.append(float(norm.logpdf(numbers[row], mean[0], deviation[0])))
    held = [row for row in numbers if row not in told]
    mean, deviation = fit(points[told], [numbers[row] for row in told], frame.widths).at(points[held])
    truth = np.array([numbers[row] for row in held])
    return {
        "left_one_out_log_density": statistics.mean(left),
        "held_out_log_density": float(norm.logpdf(truth, mean, deviation).mean()),
        "held_out_pearson": pearson(mean, truth),
        "held_out_spearman": spearman(mean, truth),
        # How far off in its own deviations: one, if it knows how little it knows.
        "held_out_off": math.sqrt(float((((truth - mean) / deviation) ** 2).mean())),
    }


def longer(asked: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    """Accuracies after long trainings, foretold from shorter ones: by the process, by counting, and by both.

    Both are put together as the best linear predictor of a variable that they correlate with to known degrees would be,
    with no weight below zero: the process to KEPT for each factor of three in length, counting to COUNTING.
    """
    runs = {epochs: trainings(asked.work, asked.data, 1437, epochs, seed) for epochs in (*SHORT, LONG)}
    frame, told, truth = runs[LONG]
    rows = list(truth)
    columns = frame.reference[:, : frame.widths[0]].T
    counting = standard(np.mean([standard(each) for each in columns if each.std() > 0], axis=0))
    found: list[dict[str, Any]] = []
    for epochs in SHORT:
        numbers = runs[epochs][2]
        fitted = AveragedGP(frame.reference[told], [numbers[row] for row in told], frame.widths)
        expected = standard(fitted.at(frame.reference)[0])
        kept, common = KEPT ** math.log(LONG / epochs, 3), float((expected * counting).mean())
        weights = max(0.0, kept - common * COUNTING), max(0.0, COUNTING - common * kept)
        both = weights[0] * expected + weights[1] * counting
        long = np.array([truth[row] for row in rows])
        ways = {"the process": expected, "counting": counting, "both": both}
        found.append({
            "seed": seed, "told": epochs, "foretold": LONG, "n": len(rows),
            "the trainings themselves": pearson([numbers[row] for row in rows], long),
            **{name: pearson(values[rows], long) for name, values in ways.items()},
        })  # fmt: skip
    found[0]["of the two short ones"] = pearson(*([runs[epochs][2][row] for row in rows] for epochs in SHORT))
    return [
        {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()} for row in found
    ]


def standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as an .npz file")
    parser.add_argument("--work", type=Path, required=True, help="that of experiments/ranking, or a fresh one")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for images, epochs, seeds in SETTINGS:
        for seed in seeds:
            frame, told, numbers = trainings(asked.work, asked.data, images, epochs, seed)
            for name, fit in FITS.items():
                found = {key: round(value, 3) for key, value in figures(fit, frame, told, numbers).items()}
                rows.append({"images": images, "epochs": epochs, "seed": seed, "fit": name, **found})
                print(rows[-1], flush=True)
    write_rows(RESULTS / "fits.csv", rows)
    means = {
        name: {
            key: round(statistics.mean(row[key] for row in rows if row["fit"] == name), 3) for key in list(rows[0])[4:]
        }
        for name in FITS
    }
    print(json.dumps(means, indent=1))
    lengths = [row for seed in LONGER_SEEDS for row in longer(asked, seed)]
    print(json.dumps(lengths, indent=1))
    made = provenance(str(__doc__).strip().splitlines()[-1])
    atomic_write(RESULTS / "summary.json", json.dumps({**made, "means": means, "longer": lengths}, indent=1) + "\n")


if __name__ == "__main__":
    main()
