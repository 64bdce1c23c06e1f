"""How much of a search runs on workers, and how many workers are worth having; see README.md."""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shlex
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from nas.executors.pool import WorkerPool

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "parallel-share"
sys.path.insert(0, str(ROOT / "experiments"))
OPTIONS: dict[str, Any] = {"space": "coatnet-small", "threads": 1, "seed": 0}
WORKERS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64)
START_S = 10.0
PROPOSALS_S = (0.0, 0.67)
SEEDS = 20


class Spent:
    """CPU seconds of this process and its children by kind of work; the innermost kind counts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner: list[float] = []

    @staticmethod
    def now() -> float:
        return sum(os.times()[:4])

    def timed(self, function: Callable[..., Any], name: str | Callable[..., str]) -> Callable[..., Any]:
        """The same function, whose time is counted for what `name` is, or gives for its arguments."""

        def run(*given: Any, **more: Any) -> Any:
            began = self.now()
            self._inner.append(0.0)
            try:
                return function(*given, **more)
            finally:
                took, inner = self.now() - began, self._inner.pop()
                self.seconds[name if isinstance(name, str) else name(*given)] += took - inner
                if self._inner:
                    self._inner[-1] += took

        return run


def share(options: dict[str, Any], *, budget: str, data: str) -> dict[str, Any]:
    """CPU seconds of one search in this process, by what the work is and where it would run with workers."""
    import nas
    from nas.jobs import executor
    from nas.options import SearchOptions
    from nas.pipeline import finalists, search

    spent = Spent()
    spent.seconds["imports, in the driver"] = spent.now()
    kinds = {"ProxyTask": "proxies", "TrainingTask": "calibration trainings", "ExportTask": "export"}
    pieces: list[tuple[Any, str, str | Callable[..., str]]] = [
        (executor, "run_jobs", lambda doer, _: kinds.get(type(doer).__name__, "scores")),
        (finalists, "train_network", "finalists"),
        (finalists, "evaluate", "test of finalists, in the driver"),
        (search, "export_winners", "record of winners, in the driver"),
        (search, "rebuild_report", "report, in the driver"),
        (search.SearchPipeline, "plan_new", "plan and data, in the driver"),
    ]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as patched:
        for owner, name, what in pieces:
            patched.enter_context(mock.patch.object(owner, name, spent.timed(getattr(owner, name), what)))
        nas.search(
            nas.load_space(options["space"]),
            budgets=[nas.Budget.parse(budget)],
            data=data,
            options=SearchOptions.of(out=f"{folder}/run", **options),
        )
    total = spent.now()
    spent.seconds["proposals, fits and all else, in the driver"] = total - sum(spent.seconds.values())
    here = sum(seconds for name, seconds in spent.seconds.items() if name.endswith("in the driver"))
    return {
        "cpu_seconds": {name: round(seconds, 2) for name, seconds in spent.seconds.items()},
        "total_cpu_seconds": round(total, 1),
        "in_the_driver": round(here, 1),
        "share_on_workers": round(1 - here / total, 4),
    }


class Sleepers:
    """A crew whose workers sleep, on a clock that goes on to whatever ends next."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self._seconds, self.now = seconds, 0.0
        self._until: dict[int, tuple[float, float | None]] = {}

    def start(self) -> int:
        self._until[len(self._until)] = (self.now + START_S, None)
        return len(self._until) - 1

    def ask(self, worker: int, job: Any) -> None:
        took = self._seconds[job.seed]
        self._until[worker] = (self.now + took, took)

    def answers(self, workers: list[int], timeout_s: float) -> list[tuple[int, Any]]:
        from nas.executors.pool import Answer
        from nas.jobs.executor import Result

        self.now = max(self.now, min(self._until[worker][0] for worker in workers))
        found: list[tuple[int, Any]] = []
        for worker in workers:
            until, took = self._until[worker]
            if until <= self.now:
                found.append((worker, Answer(result=took and Result(status="complete", value=0.0, seconds=took))))
        return found

    def stop(self, worker: int) -> None:
        """There is nothing to end."""


def simulated(seconds: Sequence[float], workers: int) -> tuple[Sleepers, WorkerPool]:
    """A pool of workers that sleep for the seconds of the job with that number."""
    from nas.executors.pool import TimeLimit, WorkerPool

    crew = Sleepers(seconds)
    return crew, WorkerPool(crew, size=workers, limit=TimeLimit(math.inf, 1.0), clock=lambda: crew.now)


def efficiency(batches: Sequence[Sequence[float]], workers: int) -> float:
    """The share of the workers' time, from their start to the last result, in which they work."""
    from nas.jobs.executor import Job

    seconds, done = [each for batch in batches for each in batch], 0
    crew, pool = simulated(seconds, workers)
    for batch in batches:
        asked = [Job(architecture={}, seed=done + place) for place in range(len(batch))]
        done += len(list(pool.map(asked)))
    pool.close()
    assert done == len(seconds)
    return sum(seconds) / (workers * crew.now)


def efficiency_as_free(seconds: Sequence[float], workers: int, proposal_s: float) -> float:
    """As `efficiency` where jobs are proposed when workers are free, all at a time in `proposal_s` of the driver."""
    from nas.jobs.executor import Job

    crew, pool = simulated(seconds, workers)
    places = iter(range(len(seconds)))

    def proposed(free: int) -> list[Job]:
        crew.now += proposal_s
        return [Job(architecture={}, seed=place) for place in islice(places, free)]

    assert len(list(pool.completed(proposed, len(seconds)))) == len(seconds)
    pool.close()
    return sum(seconds) / (workers * crew.now)


def kinds(seed: int) -> dict[str, list[list[float]]]:
    """Batches of jobs as a search of some hours has them; lengths are log-normal around their median, in seconds."""
    rng = random.Random(seed)

    def batch(count: int, median: float, sigma: float) -> list[float]:
        return [median * math.exp(rng.gauss(0.0, sigma)) for _ in range(count)]

    networks = batch(12, 600.0, 0.4)  # to their last epoch
    return {
        "proxies: 1 batch of 128, 5 s": [batch(128, 5.0, 0.4)],
        "scores: 15 batches of 16, 30 s": [batch(16, 30.0, 0.4) for _ in range(15)],
        "calibration: 6 half-way, the same 6, 6 more, 10 min": [
            [each / 2 for each in networks[:6]],
            [each / 2 for each in networks[:6]],
            networks[6:],
        ],
        "finalists: 8, an hour": [batch(8, 3600.0, 0.4)],
    }


def simulate() -> dict[str, Any]:
    """Mean efficiency over seeds, by kind of job and number of workers."""
    found: dict[str, dict[int, float]] = {}
    for name in kinds(0):
        found[name] = {
            workers: round(sum(efficiency(kinds(seed)[name], workers) for seed in range(SEEDS)) / SEEDS, 3)
            for workers in WORKERS
        }
    scores = next(name for name in found if name.startswith("scores"))
    for proposal_s in PROPOSALS_S:
        found[f"scores: the same 240, proposed in {proposal_s} s as workers become free"] = {
            workers: round(
                sum(
                    efficiency_as_free([each for batch in kinds(seed)[scores] for each in batch], workers, proposal_s)
                    for seed in range(SEEDS)
                )
                / SEEDS,
                3,
            )
            for workers in WORKERS
        }
    return {"seeds": SEEDS, "start_s": START_S, "efficiency": found}


class Timed:
    """A `Task` whose values are the CPU and wall seconds of another's jobs, all threads of the process counted."""

    def __init__(self, task: Any) -> None:
        self._task = task

    def run(self, job: Any) -> Any:
        began, at = time.process_time(), time.monotonic()
        result = self._task.run(job)
        return replace(result, value=[time.process_time() - began, time.monotonic() - at])


def timed_task(setup: Any) -> Timed:
    """Makes the task of a setup, timed."""
    from nas.jobs.setup import make_scorer

    return Timed(make_scorer(setup))


def rate(jobs: int, pairs: int) -> dict[str, Any]:
    """What a job takes with one worker of one thread and with two, in interleaved pairs.

    On an idle machine the ratio of wall seconds tells how much more jobs a second two workers do. On a shared one it
    tells how much of the machine there was. CPU seconds per job still tell what a second worker costs the first, and
    the driver's how many workers it could serve.
    """
    import ray

    from nas.data import open_data
    from nas.executors.ray.backend import RayBackend
    from nas.jobs.executor import Job
    from nas.methods.zero_cost.measuring import ProxyMeasuring
    from nas.methods.zero_cost.proxies import PROXIES
    from nas.networks.loading import load_space
    from nas.options import SearchOptions
    from nas.progress import Silent

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    data = open_data("digits").load(resolution=32, seed=0, progress=Silent())
    source = ProxyMeasuring(names=PROXIES.names(), data=data, seed=0, device="cpu")
    space = load_space("coatnet-small").adapted(resolution=32, channels=1, num_classes=10)
    rng = random.Random(0)
    asked = [Job(architecture=space.sample(rng).to_dict(), seed=0) for _ in range(jobs + 2)]
    rows: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    backends = {workers: RayBackend(SearchOptions.of(space="x", workers=workers), make=timed_task) for workers in rows}
    try:
        executors = {
            workers: backend.scoring(source, threads=1, expected_s=1.0, data_bytes=0)
            for workers, backend in backends.items()
        }
        for pair in range(pairs):
            for workers in (1, 2) if pair % 2 == 0 else (2, 1):
                executor = executors[workers]
                list(executor.map(asked[jobs : jobs + workers]))  # starts them
                wall, own = time.monotonic(), time.process_time()
                cpu = [result.value[0] for result in executor.map(asked[:jobs])]
                took, used = time.monotonic() - wall, time.process_time() - own
                rows[workers].append({"wall_s": took, "worker_cpu_s": sum(cpu), "driver_cpu_s": used})
                executor.close()
    finally:
        for backend in backends.values():
            backend.close()

    def median_ratio(name: str) -> float:
        ratios = [one[name] / two[name] for one, two in zip(rows[1], rows[2], strict=True)]
        return round(statistics.median(ratios), 3)

    return {
        "jobs": jobs,
        "pairs": pairs,
        "with_1": rows[1],
        "with_2": rows[2],
        "wall_of_1_by_wall_of_2": median_ratio("wall_s"),
        "cpu_of_1_by_cpu_of_2": median_ratio("worker_cpu_s"),
        "driver_by_workers_cpu": round(statistics.median(r["driver_cpu_s"] / r["worker_cpu_s"] for r in rows[2]), 4),
    }


def main() -> None:
    """Writes the result of one question, with where it comes from."""
    from provenance import provenance

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("share", "simulate", "rate"))
    parser.add_argument("--jobs", type=int, default=64, help="of the rate")
    parser.add_argument("--pairs", type=int, default=5, help="of the rate")
    parser.add_argument("--set", nargs="*", default=[], metavar="OPTION=NUMBER", help="options of the search")
    parser.add_argument("--budget", default="5MFLOPs", help="of the search")
    parser.add_argument("--data", default="digits", help="of the search")
    parser.add_argument("--name", help="of the result's file; default: WHAT")
    given = parser.parse_args()
    options = {**OPTIONS, **{name: int(value) for name, _, value in (each.partition("=") for each in given.set)}}
    measured = {
        "share": lambda: share(options, budget=given.budget, data=given.data),
        "simulate": simulate,
        "rate": lambda: rate(given.jobs, given.pairs),
    }
    found = measured[given.what]()
    command = shlex.join(["python", "experiments/parallel-share/run.py", *sys.argv[1:]])
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{given.name or given.what}.json"
    path.write_text(json.dumps({**provenance(command), **found}, indent=1) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
