"""Which searcher finds the best network in how many trials: on made-up accuracies, and on a table; see README.md.

OMP_NUM_THREADS=1 python experiments/searchers/run.py made-up
OMP_NUM_THREADS=1 python experiments/searchers/run.py table --table nats_size_cifar10.csv
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import nas
from nas.architecture import Architecture
from nas.budget import Budget, Cost
from nas.options import SEARCHERS
from nas.run import atomic_write
from nas.sampling.budget_sampler import BudgetSampler, Member
from nas.searchers.searcher import Proposal, make_searcher
from nas.spaces import Genotype
from nas.trial import Trial

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

sys.path.insert(0, str(Path(__file__).resolve().parent))
from truths import KINDS, Truth

RESULTS = Path(__file__).resolve().parents[2] / "results" / "searchers"
SPACES = {"nats-size": "100MFLOPs", "coatnet-small": "5MFLOPs"}
BATCH = 10
AFTER = (50, 100, 200)


class TableSampler(BudgetSampler):
    """The members of nats-size that a table has: all others are not feasible.

    Args:
        accuracies: By the widths of the stem and the stages.
    """

    def __init__(self, accuracies: dict[tuple[int, ...], float], budgets: Sequence[Budget], *, min_share: float):
        self.accuracies = accuracies
        super().__init__(nas.load_space("nats-size"), budgets, min_share=min_share)

    def _completed(self, genotype: Genotype, cost: Cost) -> Member | None:
        return super()._completed(genotype, cost) if widths(genotype) in self.accuracies else None

    def accuracy(self, architecture: Architecture) -> float:
        return self.accuracies[widths(self.space.encode(architecture))]

    def best(self) -> float:
        """Returns the highest accuracy in the feasible set."""
        space, stem = self.space, self.space.stem.choices[0][0]
        assert stem == "width"
        found = []
        for sizes, accuracy in self.accuracies.items():
            stages = tuple(
                stage.choices("C")[stage.widths.index(w)] for stage, w in zip(space.stages, sizes[1:], strict=True)
            )
            if self.contains(self.costs.cost(Genotype(sizes[:1], stages))):
                found.append(accuracy)
        return max(found)


def widths(genotype: Genotype) -> tuple[int, ...]:
    return (*genotype.stem, *(stage.width for stage in genotype.stages))


def search(
    name: str, sampler: BudgetSampler, score: Callable[[Architecture], float], seed: int, trials: int
) -> list[Trial]:
    """Trials of one searcher, in batches as a run has them."""
    searcher, found = make_searcher(name, sampler, seed=seed), list[Trial]()
    while len(found) < trials:
        batch = len(found) // BATCH
        proposals = searcher.ask(min(BATCH, trials - len(found)), batch)
        if not proposals:
            break
        told = [
            scored(each, score, seed, batch=batch, number=number)
            for number, each in enumerate(proposals, start=len(found))
        ]
        searcher.tell(told)
        found += told
    return found


def search_as_free(
    name: str, sampler: BudgetSampler, score: Callable[[Architecture], float], seed: int, trials: int, workers: int
) -> list[Trial]:
    """Trials of one searcher with `--asynchronous`: any network that a worker has may be the next to have a score."""
    searcher, found = make_searcher(name, sampler, seed=seed), list[Trial]()
    rng, pending = random.Random(seed), list[tuple[int, Proposal]]()
    for batch in range(trials):
        pending += [(batch, each) for each in searcher.ask(1, batch)]
        while pending and (len(pending) == workers or batch == trials - 1):
            first, each = pending.pop(rng.randrange(len(pending)))
            found.append(scored(each, score, seed, batch=first, number=len(found)))
            searcher.tell(found[-1:])
    return found


def scored(each: Proposal, score: Callable[[Architecture], float], seed: int, *, batch: int, number: int) -> Trial:
    return Trial(
        number=number,
        architecture=each.architecture,
        cost=each.cost,
        status="complete",
        score=score(each.architecture),
        seed=seed,
        seconds=0.0,
        layout=each.layout,
        origin=each.origin,
        batch=batch,
    )


def regrets(trials: list[Trial], true: Callable[[Architecture], float], best: float) -> dict[str, float]:
    """By how much the trial that looks best falls short, after some numbers of trials."""
    found: dict[str, float] = {}
    for count in [count for count in AFTER if count <= len(trials)]:
        chosen = max(trials[:count], key=lambda trial: trial.score or 0.0)
        found[f"regret_{count}"] = round(best - true(chosen.architecture), 4)
    return found


def area(trials: list[Trial], bound: float, low: float) -> float:
    """Hypervolume of the front of score and cost, over shares of the bound and scores above `low`."""
    best, total, before = low, 0.0, 1.0
    # From the cheapest on: what each improves counts for all costs from its own up to the bound.
    for trial in sorted(trials, key=lambda trial: trial.cost.macs):
        score = trial.score or 0.0
        if score > best:
            total += (score - best) * (before - trial.cost.macs / bound)
            best = score
    return total


def made_up(names: Sequence[str], shares: Sequence[float], seeds: int, trials: int) -> Iterator[dict[str, Any]]:
    for space, budget in SPACES.items():
        for share in shares:
            sampler = BudgetSampler(nas.load_space(space), [Budget.parse(budget)], min_share=share)
            # Every stage of nats-size has one layer.
            for kind in [kind for kind in KINDS if kind != "depth" or space != "nats-size"]:
                for seed in range(seeds):
                    truth = Truth(sampler, kind, seed)
                    yield from compared(names, sampler, truth, {"space": space, "truth": kind}, seed, share, trials)


def compared(
    names: Sequence[str],
    sampler: BudgetSampler,
    truth: Truth,
    facts: dict[str, Any],
    seed: int,
    share: float,
    most: int,
) -> Iterator[dict[str, Any]]:
    """Rows of all searchers on one truth, whose best is what climbing or any of them found."""
    runs: dict[str, tuple[list[Trial], float]] = {}
    for name in names:
        began = time.process_time()
        trials = search(name, sampler, truth.measured, seed, most)
        runs[name] = trials, time.process_time() - began
    best = max([truth.best(), *(truth(trial.architecture) for trials, _ in runs.values() for trial in trials)])
    bound = float(sampler.feasible.bounds[0])
    for name, (trials, seconds) in runs.items():
        row = {**facts, "min_share": share, "searcher": name, "seed": seed, **regrets(trials, truth, best)}
        yield {**row, "area": round(area(trials, bound, -3.0), 4), "cpu_s": round(seconds, 2)}


def from_table(
    names: Sequence[str], shares: Sequence[float], seeds: int, most: int, table: Path, workers: int | None
) -> Iterator[dict[str, Any]]:
    with table.open() as file:
        rows = list(csv.DictReader(file))
    accuracies = {tuple(int(w) for w in row["arch"].split(":")): float(row["cifar10_test"]) for row in rows}
    for share in shares:
        sampler = TableSampler(accuracies, [Budget.parse(SPACES["nats-size"])], min_share=share)
        best, bound = sampler.best(), float(sampler.feasible.bounds[0])
        for name in names:
            for seed in range(seeds):
                began = time.process_time()
                if workers is None:
                    trials = search(name, sampler, sampler.accuracy, seed, most)
                else:
                    trials = search_as_free(name, sampler, sampler.accuracy, seed, most, workers)
                seconds = round(time.process_time() - began, 2)
                row = {"space": "nats-size", "truth": "table", "min_share": share, "searcher": name, "seed": seed}
                row |= regrets(trials, sampler.accuracy, best)
                yield {**row, "area": round(area(trials, bound, 80.0), 4), "cpu_s": seconds}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds and truths, with standard errors of the last regret."""
    found: list[dict[str, Any]] = []
    for key in dict.fromkeys((row["space"], row["min_share"], row["searcher"]) for row in rows):
        mine = [row for row in rows if (row["space"], row["min_share"], row["searcher"]) == key]
        means = {name: round(float(np.mean([row[name] for row in mine])), 4) for name in mine[0] if name in FIGURES}
        errors = {
            f"{name}_error": round(float(np.std([row[name] for row in mine], ddof=1) / len(mine) ** 0.5), 4)
            for name in means
            if name != "cpu_s" and len(mine) > 1
        }
        found.append({"space": key[0], "min_share": key[1], "searcher": key[2], "runs": len(mine), **means, **errors})
    return found


FIGURES = (*(f"regret_{count}" for count in AFTER), "area", "cpu_s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", choices=["made-up", "table"])
    parser.add_argument("--table", type=Path, help="nats_size_cifar10.csv")
    parser.add_argument("--trials", type=int, default=AFTER[-1])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.75, 0.0])
    parser.add_argument("--searchers", nargs="+", default=[*SEARCHERS])
    parser.add_argument("--asynchronous", type=int, metavar="WORKERS", help="of the table: no batches")
    asked = parser.parse_args()
    result = asked.truth if asked.asynchronous is None else f"{asked.truth}-asynchronous-{asked.asynchronous}"
    if asked.truth == "made-up":
        making = made_up(asked.searchers, asked.shares, asked.seeds, asked.trials)
    else:
        making = from_table(asked.searchers, asked.shares, asked.seeds, asked.trials, asked.table, asked.asynchronous)
    rows = others(RESULTS / f"{result}.csv", asked.searchers, asked.shares)
    for row in making:
        rows.append(row)
        print(row, flush=True)
    write_rows(RESULTS / f"{result}.csv", rows)
    told = {**provenance("python experiments/searchers/run.py " + " ".join(sys.argv[1:])), "means": summary(rows)}
    atomic_write(RESULTS / f"{result}.json", json.dumps(told, indent=1) + "\n")
    for row in told["means"]:
        print(row)


def others(path: Path, searchers: Sequence[str], shares: Sequence[float]) -> list[dict[str, Any]]:
    """The rows of an earlier run that are of other searchers, or of other least shares, than those that run now."""
    if not path.exists():
        return []
    with path.open() as file:
        rows = list(csv.DictReader(file))
    rows = [row for row in rows if row["searcher"] not in searchers or float(row["min_share"]) not in shares]
    numbers = ("min_share", *FIGURES)
    return [{**row, **{name: float(row[name]) for name in numbers if name in row}} for row in rows]


if __name__ == "__main__":
    main()
