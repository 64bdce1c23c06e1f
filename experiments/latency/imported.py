"""A device known by ten networks of a published table: how well are the others predicted? See README.md."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from nas.benchmark.tables import read_table
from nas.latency.calibration import most_telling
from nas.latency.device_model import fit, predict_blocks
from nas.latency.features import blocks_of
from nas.latency.latency_table import measured_rows
from nas.latency.model_error import PredictionError, baseline_predictions, prediction_error
from nas.latency.work_model import PRIOR
from nas.setting import Setting

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance

COMMAND = "OMP_NUM_THREADS=1 python experiments/latency/imported.py TABLE"
RESULTS = Path(__file__).resolve().parents[2] / "results" / "latency"
KNOWN, SEEDS = 10, 20


def main() -> None:
    """Writes `results/latency/imported.json`: per column, errors of the networks that are not among the ten."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path)
    options = parser.parse_args()
    table = read_table(options.table)
    columns = [name for name in table.columns if name.startswith("images_per_s")]
    found: dict[str, object] = {}
    for column in columns:
        figures = table.numbers(column, "--column")
        there = [i for i, value in enumerate(figures) if np.isfinite(value)]
        rows = measured_rows(
            [table.columns["name"][i] for i in there],
            [figures[i] for i in there],
            [float(table.columns["benchmark_resolution"][i]) for i in there],
            column=column,
            setting=Setting(),
            where=str(options.table),
        )
        networks = [blocks_of(row.architecture, folded=False) for row in rows]
        seconds = np.array([row.latency_s for row in rows])
        telling = most_telling([], networks, PRIOR, KNOWN)
        sampled = [list(np.random.default_rng(seed).permutation(len(rows))[:KNOWN]) for seed in range(SEEDS)]
        found[column] = {
            "networks": len(rows),
            "ten most telling": {name: error.to_dict() for name, error in errors(networks, seconds, telling).items()},
            "ten at random, mean": means([errors(networks, seconds, known) for known in sampled]),
        }
        print(column, json.dumps(found[column]), flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    plain = {"known": KNOWN, "seeds": SEEDS, "columns": found, **provenance(COMMAND)}
    (RESULTS / "imported.json").write_text(json.dumps(plain, indent=1) + "\n")


def errors(networks: list[list[object]], seconds: np.ndarray, known: list[int]) -> dict[str, PredictionError]:
    """Errors of the model and the baselines on all networks but the known."""
    others = [i for i in range(len(networks)) if i not in set(known)]
    fitted, asked = [networks[i] for i in known], [networks[i] for i in others]
    predicted = {
        "model": predict_blocks(*fit(fitted, seconds[known]), asked),
        **baseline_predictions(fitted, seconds[known], asked),
    }
    return {name: prediction_error(values, seconds[others]) for name, values in predicted.items()}


def means(runs: list[dict[str, PredictionError]]) -> dict[str, dict[str, float]]:
    """Mean of each figure over the choices of the ten."""
    figures = ("mape", "within_5", "within_10", "spearman")
    return {
        name: {figure: float(np.mean([getattr(run[name], figure) for run in runs])) for figure in figures}
        for name in runs[0]
    }


if __name__ == "__main__":
    main()
