"""Networks measured per sample inside memory budgets, and what building a sampler takes; see README.md."""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import nas
from nas.budget import Budget
from nas.costs import SpaceCosts, peak_memory
from nas.sampling import BudgetSampler
from nas.setting import Setting

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tables import write_rows

RESULTS = Path(__file__).resolve().parents[2] / "results" / "memory"
SPACES = {"coatnet-small": ("float32", "int8"), "coatnet": ("float32",)}
SHARES = (0.001, 0.01, 0.1, 0.5)
MEMBERS, SAMPLES = 3000, 200


def main() -> None:
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict("os.environ", NAS_CACHE=folder):
        for name, dtypes in SPACES.items():
            for dtype in dtypes:
                space, rng = nas.load_space(name), random.Random(0)
                began = time.process_time()
                BudgetSampler(space, [Budget(metric="memory_bytes", bound=10**12, setting=Setting(dtype=dtype))])
                first = time.process_time() - began
                members = sorted(peak_memory(space.sample(rng, by="architecture"), dtype) for _ in range(MEMBERS))
                for share in SHARES:
                    bound = members[int(share * MEMBERS)]
                    rows.append({"space": name, "dtype": dtype, **sampled(space, bound, dtype, share, first)})
                    print(rows[-1], flush=True)
    write_rows(RESULTS / "sampling.csv", rows)
    print("median measured per sample", statistics.median(row["measured_per_sample"] for row in rows))


def sampled(space: nas.SearchSpace, bound: int, dtype: str, share: float, first: float) -> dict[str, Any]:
    """Returns how many networks are measured for a sample of all that fit a budget."""
    SpaceCosts(space)
    began = time.process_time()
    sampler = BudgetSampler(space, [Budget(metric="memory_bytes", bound=bound, setting=Setting(dtype=dtype))])
    built = time.process_time() - began
    rng, measured = random.Random(0), [0]

    def counting(architecture: nas.Architecture) -> int:
        measured[0] += 1
        return peak_memory(architecture, dtype)

    sampler.measures = {"memory_bytes": counting}
    for _ in range(SAMPLES):
        sampler.sample(rng, by="architecture")
    return {
        "share_that_fits": share,
        "bound": bound,
        "measured_per_sample": measured[0] / SAMPLES,
        "by_rejection_alone": 1 / share,
        "first_sampler_cpu_s": round(first, 2),
        "later_sampler_cpu_s": round(built, 2),
    }


if __name__ == "__main__":
    main()
