"""Does the default search lose to counting parameters in the same time? See README.md.

    python experiments/against-counting/run.py --data clothing10 --seeds 3

Stopped, it goes on when started again. Every finished pair of searches is a row of `results/against-counting/`.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nas.formats import reasons
from nas.run import read_run
from nas.run.events import CalibrationTrained, RunFinished, WinnerExported

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from commands import SEARCH, first_images, is_finished, plan_search, run_counted
from provenance import provenance
from tables import write_rows

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "against-counting"
METHODS = {"default": [], "params": ["--method", "params"]}
CHOICES = ("score", "params", "log_channels", "random")


def read_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder of class folders or an .npz, as for nas-search")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, help="the first so many training images of an .npz")
    parser.add_argument("--space", default="coatnet-small")
    parser.add_argument("--budget", default="20MFLOPs")
    parser.add_argument("--resolution", default="64")
    parser.add_argument("--time", default="20min")
    parser.add_argument("--threads", default="1", help="of each search; the two of a pair run side by side")
    parser.add_argument("--in-turn", action="store_true", help="the two of a pair one after the other")
    parser.add_argument("--plan-only", action="store_true", help="plan all searches and stop them: see README.md")
    parser.add_argument("--work", type=Path, default=Path("runs/against-counting"))
    return parser.parse_args()


def main() -> None:
    words = read_words()
    name = Path(words.data).stem + (f"-{words.images}" if words.images else "")
    work = words.work / name
    work.mkdir(parents=True, exist_ok=True)
    data = words.data if words.images is None else str(first_images(Path(words.data), words.images, work))
    if words.plan_only:
        for seed in range(words.seeds):
            for method in METHODS:
                planned(words, data, work, method, seed)
        return
    rows: list[dict[str, Any]] = []
    for seed in range(words.seeds):
        # Side by side, so that both find the machine equally busy; in turn where other work has the other cores.
        with ThreadPoolExecutor(1 if words.in_turn else len(METHODS)) as pool:
            rows += pool.map(lambda method: searched(words, data, work, method, seed), METHODS)  # noqa: B023
        write(name, words, rows)
    print(json.dumps(json.loads((RESULTS / f"{name}.json").read_text())["differences"], indent=1))


def command_of(words: argparse.Namespace, data: str, run: Path, method: str, seed: int) -> list[str]:
    """What starts a search, or continues it where it was stopped."""
    if run.exists():
        return [*SEARCH, "--resume", str(run)]
    return [
        *SEARCH,
        *("--space", words.space, "--budget", words.budget, "--resolution", words.resolution, "--data", data),
        *("--time", words.time, "--threads", words.threads, "--seed", str(seed), "--no-onnx", "--out", str(run)),
        *METHODS[method],
    ]


def planned(words: argparse.Namespace, data: str, work: Path, method: str, seed: int) -> None:
    """Plans one search of the study."""
    run = work / f"{method}-{seed}"
    plan_search(run, command_of(words, data, run, method, seed))


def searched(words: argparse.Namespace, data: str, work: Path, method: str, seed: int) -> dict[str, Any]:
    """One search by the command line, from its start or its stop; what it found."""
    run = work / f"{method}-{seed}"
    counted = work / f"{method}-{seed}.cpu-seconds"
    if not is_finished(run):
        run_counted(command_of(words, data, run, method, seed), counted)
    record = read_run(run)
    winners = sorted(record.events(WinnerExported), key=lambda event: event.rank)
    finished, plan = record.last(RunFinished), record.manifest["plan"]
    assert finished is not None, f"{run} is not finished"
    best, calibrations = winners[0], record.events(CalibrationTrained)
    return {
        "method": method,
        "seed": seed,
        "winner": best.digest,
        "chosen_by": best.chosen_by,
        "macs": best.macs,
        "params": best.params,
        "validation": best.validation_accuracy,
        "validation_error": best.validation_error,
        "test": best.test_accuracy,
        **{f"{figure}_{name}": value for name in CHOICES for figure, value in reached(winners, name).items()},
        "finalists": plan["finalists"],
        "finalist_epochs": plan["finalist_epochs"],
        "calibrations": len({event.digest for event in calibrations}),
        "calibration_epochs": max((event.epochs for event in calibrations), default=0),
        "seconds": round(finished.seconds),
        "seconds_planned": round(sum(plan["seconds"].values())),
        # None where the search was not worked off by this program.
        "cpu_seconds": round(float(counted.read_text())) if counted.exists() else None,
    }


def reached(winners: list[WinnerExported], name: str) -> dict[str, float | None]:
    """The accuracies of the finalist that something chose; of several by score, those of the highest score."""
    mine = [winner for winner in winners if name in reasons(winner.chosen_by)]
    first = max(mine, key=lambda winner: winner.score or 0.0, default=None)
    return {
        "validation": None if first is None else first.validation_accuracy,
        "test": None if first is None else first.test_accuracy,
    }


def write(name: str, words: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    write_rows(RESULTS / f"{name}.csv", rows)
    found = {figure: differences(rows, figure) for figure in ("validation", "test")}
    command = "python experiments/against-counting/run.py " + " ".join(
        f"--{key.replace('_', '-')}" + ("" if value is True else f" {Path(value).name if key == 'data' else value}")
        for key, value in vars(words).items()
        if value not in (None, False) and key != "work"
    )
    facts = {"differences": found, **provenance(command)}
    (RESULTS / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")


def differences(rows: list[dict[str, Any]], figure: str) -> dict[str, Any]:
    """Means over seeds, and the default's winner less that of `--method params` and less two of its finalists.

    These are the largest networks by parameters and by log-channels, which train for longer than the default's.
    """
    by = {(row["method"], row["seed"]): row for row in rows}
    seeds = sorted({row["seed"] for row in rows})
    default = [by["default", seed][figure] for seed in seeds]
    found: dict[str, Any] = {"seeds": len(seeds), "default": statistics.mean(default)}
    params, log_channels = f"{figure}_score", f"{figure}_log_channels"
    compared = {
        "params": [figure],
        "the largest by params": [params],
        "the largest by log_channels": [log_channels, params],
    }
    for name, columns in compared.items():
        # One network may be the largest by both.
        others = [next(v for column in columns if (v := by["params", s][column]) is not None) for s in seeds]
        gains = [mine - other for mine, other in zip(default, others, strict=True)]
        error = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else None
        found[name] = {"mean": statistics.mean(others), "default less it": statistics.mean(gains), "error": error}
    return found


if __name__ == "__main__":
    main()
