"""How many architectures inside 4.2 GFLOPs are drawn and costed exactly per CPU-second; see README.md."""

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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "sampling-speed"
BUDGET, BATCH, REPEATS, WARM_UP = "4.2GFLOPs", 10_000, 7, 30_000
AIMS = {"under the cap": 0.0, "top quarter": 0.75, "5 % window": 0.95}


def cold(aim: float) -> dict[str, float]:
    """CPU seconds of a fresh process, the user's cache of counts being empty: import, sampler, first draws."""
    began = time.process_time()
    import nas
    from nas.costs.count_table import SHIPPED, source_hash
    from nas.sampling.budget_sampler import BudgetSampler

    nas.cost  # noqa: B018  imports torch
    imported = time.process_time()
    sampler = BudgetSampler(nas.load_space("coatnet"), [nas.Budget.parse(BUDGET)], aim=aim)
    built = time.process_time()
    rng, marks = random.Random(0), {}
    for i in range(BATCH):
        nas.cost(sampler.draw(rng).architecture)
        if i + 1 in (1, 1000, BATCH):
            marks[f"first_{i + 1}_s"] = time.process_time() - built
    stored = json.loads(SHIPPED.read_text())["source"]
    current = float(stored == source_hash())  # 0: the counts that come with the package are older than its ops
    return {"import_s": imported - began, "sampler_s": built - imported, **marks, "shipped_counts_current": current}


def warm(aim: float) -> dict[str, float]:
    """Architectures per CPU-second after a warm-up; draws alone and draws with `nas.cost` in turn."""
    import nas
    from nas.sampling.budget_sampler import BudgetSampler

    sampler = BudgetSampler(nas.load_space("coatnet"), [nas.Budget.parse(BUDGET)], aim=aim)
    rng = random.Random(1)
    for _ in range(WARM_UP):
        nas.cost(sampler.draw(rng).architecture)
    drawn, both, digests = [], [], set()
    for _ in range(REPEATS):
        began = time.process_time()
        for _ in range(BATCH):
            sampler.draw(rng)
        drawn.append(BATCH / (time.process_time() - began))
        began = time.process_time()
        for _ in range(BATCH):
            nas.cost(sampler.draw(rng).architecture)
        both.append(BATCH / (time.process_time() - began))
    for _ in range(2000):  # outside the clock: the two costs agree, and the draws are not always the same few
        draw = sampler.draw(rng)
        found = nas.cost(draw.architecture)
        assert (found.macs, found.params) == (draw.cost.macs, draw.cost.params)
        assert sampler.in_range(found)
        digests.add(draw.architecture.digest)
    return {
        "draw_per_s": statistics.median(drawn),
        "draw_and_cost_per_s": statistics.median(both),
        "draw_and_cost_low": min(both),
        "draw_and_cost_high": max(both),
        "distinct_of_2000": len(digests),
    }


def main() -> None:
    """Runs every case in a process of its own and writes `results/sampling-speed/speed.json`."""
    if len(sys.argv) > 1:
        print(json.dumps({"cold": cold, "warm": warm}[sys.argv[1]](float(sys.argv[2]))))
        return
    rows = []
    for name, aim in AIMS.items():
        row: dict[str, object] = {"case": name, "min_share": aim}
        colds = [_child("cold", aim) for _ in range(3)]
        row["cold"] = {key: round(statistics.median(c[key] for c in colds), 4) for key in colds[0]}
        row["warm"] = {key: round(value, 1) for key, value in _child("warm", aim).items()}
        rows.append(row)
        print(json.dumps(row), flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    facts = {"budget": BUDGET, "batch": BATCH, "repeats": REPEATS, "rows": rows, **_provenance()}
    (RESULTS / "speed.json").write_text(json.dumps(facts, indent=1) + "\n")


def _child(case: str, aim: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NAS_CACHE": cache, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, __file__, case, str(aim)]
        done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    return json.loads(done.stdout)


def _provenance() -> dict[str, str]:
    # Imported late: it imports torch, and the cold runs time that. Shared by all experiments, one folder up.
    sys.path.insert(0, str(ROOT / "experiments"))
    from provenance import provenance

    return {**provenance("python experiments/sampling-speed/measure.py"), "python": platform.python_version()}


if __name__ == "__main__":
    main()
