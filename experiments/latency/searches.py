"""What does a search for a latency pick, against one for the same multiply-adds? See README.md."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from nas.latency.blocks import Clock, Timed, interleave, summarize
from nas.run import read_run
from nas.run.events import WinnerExported

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from commands import SEARCH
from provenance import provenance

COMMAND = "OMP_NUM_THREADS=1 python experiments/latency/searches.py"
RESULTS = Path(__file__).resolve().parents[2] / "results" / "latency"
SETTING = "onnxruntime:threads=1"
PLAN = ["--calibrations", "6", "--trials", "120", "--finalists", "3", "--finalist-epochs", "5"]


def main() -> None:
    """Runs what lacks of both searches, measures all winners' `model.onnx` in turn; writes `searches.json`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--microseconds", type=int, required=True, help="the latency budget")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/latency"))
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=PLAN, help="of both searches")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    budget_s = options.microseconds * 1e-6
    by_latency = search(options, "latency", f"{options.microseconds}us@{SETTING}")
    macs = read_run(by_latency).events(WinnerExported)
    most = max(each.macs for each in macs if each.rank == 1)
    by_macs = search(options, "macs", f"{most}MACs")
    facts: dict[str, Any] = {"setting": SETTING, "budget_s": budget_s, "budget_macs": most}
    folders = {f"{run.name}/{folder.name}": folder for run in (by_latency, by_macs) for folder in winners(run)}
    seconds = measured(folders)
    for run in (by_latency, by_macs):
        facts[run.name] = [
            {
                "rank": each.rank,
                "digest": each.digest,
                "chosen_by": each.chosen_by,
                "macs": each.macs,
                "params": each.params,
                "validation": each.validation_accuracy,
                "validation_error": each.validation_error,
                "test": each.test_accuracy,
                "model_onnx_s": seconds[f"{run.name}/{each.rank}"],
                "within": seconds[f"{run.name}/{each.rank}"] <= budget_s,
            }
            for each in sorted(read_run(run).events(WinnerExported), key=lambda event: event.rank)
        ]
    words = f"--data {Path(options.data).name} --microseconds {options.microseconds} --seed {options.seed}"
    facts |= provenance(f"{COMMAND} {words} --options {' '.join(options.options)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "searches.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts, indent=1))


def search(options: argparse.Namespace, name: str, budget: str) -> Path:
    """Runs a search by the command line, or continues it; returns its folder."""
    run = options.work / name
    new = [
        *("--space", "coatnet-small", "--budget", budget, "--data", options.data),
        *options.options,
        *("--threads", "1", "--seed", str(options.seed), "--out", str(run)),
    ]
    with (options.work / f"{name}.log").open("a") as log:
        subprocess.run(
            [*SEARCH, *(["--resume", str(run)] if run.exists() else new)], check=True, stdout=log, stderr=log
        )
    return run


def winners(run: Path) -> list[Path]:
    """Folders of all winners, by rank."""
    return sorted((run / "winners").iterdir(), key=lambda folder: int(folder.name))


def measured(folders: dict[str, Path]) -> dict[str, float]:
    """Median seconds of one inference of each exported `model.onnx` at batch 1, by onnxruntime alone, in turn."""
    runs = [session_of(folder / "model.onnx") for folder in folders.values()]
    record = interleave(runs, runs[0], blocks=15, clock=time.perf_counter, rng=random.Random(0))
    return {name: summarize(record, i, name).median_s for i, name in enumerate(folders)}


def session_of(path: Path) -> Timed:
    """What times one inference of a file."""
    given = onnxruntime.SessionOptions()
    given.intra_op_num_threads = given.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, given, providers=["CPUExecutionProvider"])
    wanted = session.get_inputs()[0]
    shape = [side if isinstance(side, int) else 1 for side in wanted.shape]
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)

    def timed(clock: Clock) -> tuple[float, ...]:
        start = clock()
        session.run(None, {wanted.name: images})
        return (clock() - start,)

    for _ in range(20):  # to warm up
        timed(time.perf_counter)
    return timed


if __name__ == "__main__":
    main()
