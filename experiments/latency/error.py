"""How wrong is a latency model of coatnet-small on this CPU, and how wrong is measuring itself? See README.md."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path

import numpy as np
import torch

from nas.architecture import Architecture
from nas.latency.blocks import Timed, quartiles
from nas.latency.device_model import fit, held_out_errors, predict_blocks
from nas.latency.features import blocks_of
from nas.latency.model_error import prediction_error
from nas.latency.runtimes import find_runtime
from nas.networks.loading import load_space
from nas.networks.network import build
from nas.setting import Setting

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance

COMMAND = "OMP_NUM_THREADS=1 python experiments/latency/error.py"
RESULTS = Path(__file__).resolve().parents[2] / "results" / "latency"
TOGETHER, ROUNDS, BLOCK_S = 16, 7, 0.015


def main() -> None:
    """Measures the same networks on two occasions, in CPU-seconds; writes `results/latency/error.json`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", type=int, default=240)
    options = parser.parse_args()
    torch.set_num_threads(1)
    space, rng = load_space("coatnet-small"), random.Random(2024)
    networks = list(dict.fromkeys(space.sample(rng) for _ in range(options.networks)))
    first, second = occasion(networks), occasion(networks)
    blocks = [blocks_of(each) for each in networks]
    both = np.sqrt(first * second)
    half = len(networks) // 2
    predicted = predict_blocks(*fit(blocks[:half], first[:half]), blocks[half:])
    facts = {
        "networks": len(networks),
        "ceiling: the first occasion predicts the second": prediction_error(first, second).to_dict(),
        "mean of both occasions, left out of five folds": {
            name: error.to_dict() for name, error in held_out_errors(blocks, both).items()
        },
        "half on the first predicts the others on the second": prediction_error(predicted, second[half:]).to_dict(),
        **provenance(f"{COMMAND} --networks {options.networks}"),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "error.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts, indent=1))


def occasion(networks: list[Architecture]) -> np.ndarray:
    """Median CPU-seconds of one inference of each network, folded in eager torch, measured in turn, (n,)."""
    found: list[float] = []
    for i in range(0, len(networks), TOGETHER):
        runs = [prepared(each) for each in networks[i : i + TOGETHER]]
        seconds: list[list[float]] = [[] for _ in runs]
        for turn in range(ROUNDS):
            order = list(range(len(runs)))
            random.Random(turn).shuffle(order)
            for k in order:
                seconds[k].append(block(runs[k]))
        found += [quartiles(each)[1] for each in seconds]
    return np.array(found)


def prepared(architecture: Architecture) -> Timed:
    """What times one inference of a network, warmed up."""
    setting = Setting(threads=1)
    side = architecture.input.resolution
    run = find_runtime(setting).prepare(build(architecture), torch.randn(1, 3, side, side), setting)

    def timed(clock: object) -> tuple[float, ...]:
        start = time.thread_time()
        run()
        return (time.thread_time() - start,)

    for _ in range(3):
        timed(None)
    return timed


def block(timed: Timed) -> float:
    """Median of some inferences in a row."""
    taken: list[float] = []
    while sum(taken) < BLOCK_S or len(taken) < 3:
        taken.append(timed(time.thread_time)[0])
    return quartiles(taken)[1]


if __name__ == "__main__":
    main()
