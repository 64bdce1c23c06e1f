"""What it costs that a process on a CPU returns the memory of its tensors to the system. See README.md.

python experiments/freed-memory/run.py
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch

import nas
from nas.training.freed_memory import CHOSEN, freed_memory_kept

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

RESULTS = Path(__file__).resolve().parents[2] / "results" / "freed-memory"
SMALL = "coatnet-small"
CASES: tuple[dict[str, Any], ...] = (
    {"work": "training", "network": "tf_efficientnet_lite0", "resolution": 160, "batch": 64, "threads": 1, "steps": 3},
    {"work": "training", "network": SMALL, "resolution": 32, "batch": 64, "threads": 1, "steps": 15},
    {"work": "inference", "network": "tf_efficientnet_lite0", "resolution": 224, "batch": 1, "threads": 1, "steps": 20},
    {"work": "inference", "network": "tf_efficientnet_lite0", "resolution": 224, "batch": 16, "threads": 1, "steps": 4},
)
FIGURES = ("seconds", "user_s", "system_s", "new_pages")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, help="processes of each kind and case, in turn")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.case:
        print(json.dumps(timed(**json.loads(words.case))))
        return
    rows = []
    for case in CASES:
        for pair in range(words.pairs):
            for kept in (False, True) if pair % 2 == 0 else (True, False):
                told = {name: value for name, value in os.environ.items() if name not in CHOSEN}
                command = [sys.executable, __file__, "--case", json.dumps(case | {"kept": kept})]
                done = subprocess.run(command, env=told, check=True, stdout=subprocess.PIPE, text=True)
                rows.append(case | {"pair": pair, "kept": kept} | json.loads(done.stdout))
                print(rows[-1], flush=True)
    write_rows(RESULTS / "processes.csv", rows)
    found = [case | compared(case, rows) for case in CASES]
    summary = provenance("python experiments/freed-memory/run.py") | {"pairs": words.pairs, "cases": found}
    (RESULTS / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")


def timed(
    *, work: str, network: str, resolution: int, batch: int, threads: int, steps: int, kept: bool
) -> dict[str, float]:
    """The median of a step's seconds, and processor time and pages from the system a step, after two steps untimed."""
    torch.set_num_threads(threads)
    with freed_memory_kept() if kept else nullcontext():
        run = step_of(work, network, resolution, batch)
        run()
        run()
        before, seconds = resource.getrusage(resource.RUSAGE_SELF), []
        for _ in range(steps):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": median(seconds),
        "user_s": (after.ru_utime - before.ru_utime) / steps,
        "system_s": (after.ru_stime - before.ru_stime) / steps,
        "new_pages": (after.ru_minflt - before.ru_minflt) // steps,
        "peak_mb": after.ru_maxrss >> 10,
    }


def step_of(work: str, name: str, resolution: int, batch: int) -> Any:
    """One training step, or one pass of inference, as the program does them: channels last, float32."""
    torch.manual_seed(0)
    whole = nas.load_space(name).sample(random.Random(3)) if name == SMALL else nas.load_architecture(name)
    network = nas.build(whole.at_resolution(resolution))
    images = torch.randn(batch, 3, resolution, resolution).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,))
    network.train(work == "training")
    if work == "inference":
        return torch.inference_mode()(lambda: network(images))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()

    return step


def compared(case: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians without and with, and the median over pairs of how many times faster the second is, with its range."""
    mine = [row for row in rows if all(row[name] == value for name, value in case.items())]
    by = {kept: [row for row in mine if row["kept"] is kept] for kept in (False, True)}
    ratios = sorted(a["seconds"] / b["seconds"] for a, b in zip(by[False], by[True], strict=True))
    return {
        "times_faster": round(median(ratios), 3),
        "range": [round(ratios[0], 3), round(ratios[-1], 3)],
        **{
            f"{name}_{'kept' if kept else 'returned'}": round(median(row[name] for row in by[kept]), 4)
            for kept in (False, True)
            for name in (*FIGURES, "peak_mb")
        },
    }


if __name__ == "__main__":
    main()
