"""How many architectures inside budgets `nas.sample` gives per CPU-second, as the README calls it; see README.md."""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "sampling-speed"
BATCH, REPEATS, WARM_UP, COLDS, CHECKED = 5_000, 7, 20_000, 3, 1_000


@dataclass(frozen=True)
class Case:
    """The arguments of one call."""

    space: str
    budgets: tuple[str, ...] = ()
    min_share: float = 0.0


CASES = (
    Case("coatnet", ("4.2GFLOPs",)),
    Case("coatnet", ("4.2GFLOPs",), 0.75),
    Case("coatnet", ("4.2GFLOPs",), 0.95),
    Case("coatnet", ("4.2GFLOPs", "25Mparams")),
    Case("coatnet"),
    Case("coatnet-small", ("5MFLOPs",)),
    Case("coatnet-small", ("5MFLOPs", "200Kparams")),
    Case("coatnet-small"),
    Case("hytra", ("4GFLOPs",)),
    Case("hytra", ("4GFLOPs", "25Mparams")),
    Case("hytra"),
)


def cold(case: Case) -> dict[str, float]:
    """CPU seconds of a fresh process, the user's cache of counts being empty: imports, first call, next calls."""
    began = time.process_time()
    import nas
    from nas.costs.count_table import SHIPPED, source_hash

    nas.cost  # noqa: B018  imports torch
    imported = time.process_time()
    space, budgets = nas.load_space(case.space), [nas.Budget.parse(text) for text in case.budgets]
    loaded = time.process_time()
    rng = random.Random(0)
    found = {"import_s": imported - began, "load_space_s": loaded - imported}
    for i in range(1000):
        nas.sample(space, rng, budgets=budgets, min_share=case.min_share)
        if i + 1 in (1, 1000):
            found[f"first_{i + 1}_s"] = time.process_time() - loaded
    stored = json.loads(SHIPPED.read_text())["source"]
    # 0: the counts that come with the package are older than its ops, and all was counted again.
    return {**found, "shipped_counts_current": float(stored == source_hash())}


def warm(case: Case) -> dict[str, float]:
    """Calls per CPU-second after a warm-up; `nas.sample` alone, and with `nas.cost` after it, in turn."""
    import nas
    from nas.sampling import BudgetSampler

    space, budgets = nas.load_space(case.space), [nas.Budget.parse(text) for text in case.budgets]
    sampler, rng = BudgetSampler(space, budgets, min_share=case.min_share), random.Random(1)

    def sample() -> nas.Architecture:
        return nas.sample(space, rng, budgets=budgets, min_share=case.min_share)

    for _ in range(WARM_UP):
        nas.cost(sample())
    alone, both = [], []
    for _ in range(REPEATS):
        began = time.process_time()
        for _ in range(BATCH):
            sample()
        alone.append(BATCH / (time.process_time() - began))
        began = time.process_time()
        for _ in range(BATCH):
            nas.cost(sample())
        both.append(BATCH / (time.process_time() - began))
    # Outside the clock: they fit, are what a fresh sampler gives, and are not always the same few.
    rng, again, digests = random.Random(2), random.Random(2), set()
    for _ in range(CHECKED):
        architecture = sample()
        if budgets:
            assert architecture == sampler.sample(again).architecture
            assert sampler.contains(nas.cost(architecture))
        digests.add(architecture.digest)
    return {
        "sample_per_s": statistics.median(alone),
        "sample_low": min(alone),
        "sample_high": max(alone),
        "sample_and_cost_per_s": statistics.median(both),
        f"distinct_of_{CHECKED}": len(digests),
    }


def main() -> None:
    """Runs every case in a process of its own and writes `results/sampling-speed/speed.json`."""
    if len(sys.argv) > 1:
        print(json.dumps({"cold": cold, "warm": warm}[sys.argv[1]](CASES[int(sys.argv[2])])))
        return
    rows = []
    for number, case in enumerate(CASES):
        row: dict[str, object] = asdict(case)
        colds = [_child("cold", number) for _ in range(COLDS)]
        row["cold"] = {key: round(statistics.median(c[key] for c in colds), 4) for key in colds[0]}
        row["warm"] = {key: round(value, 1) for key, value in _child("warm", number).items()}
        rows.append(row)
        print(json.dumps(row), flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    facts = {"batch": BATCH, "repeats": REPEATS, "warm_up": WARM_UP, "colds": COLDS, "rows": rows, **_provenance()}
    (RESULTS / "speed.json").write_text(json.dumps(facts, indent=1) + "\n")


def _child(what: str, number: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NAS_CACHE": cache, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, __file__, what, str(number)]
        done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    return json.loads(done.stdout)


def _provenance() -> dict[str, str]:
    # Imported late: it imports torch, and the cold runs time that. Shared by all experiments, one folder up.
    sys.path.insert(0, str(ROOT / "experiments"))
    from provenance import provenance

    return {**provenance("python experiments/sampling-speed/measure.py"), "python": platform.python_version()}


if __name__ == "__main__":
    main()
