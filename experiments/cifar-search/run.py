"""One real search on CIFAR-10, and what its winner is worth beside networks that nobody searched for.

    python experiments/cifar-search/run.py --data cifar10.npz --work runs/cifar-search [--threads N]

Stopped, it goes on where it was when started again. Writes `results/cifar-search/`.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from pathlib import Path

import numpy as np
import torch

import nas
from nas.architecture import Architecture
from nas.benchmark.rank_statistics import rank_statistics
from nas.data import open_data
from nas.methods.protocol.plan import Plan
from nas.methods.supernet.method import SupernetPlan
from nas.pipeline.search import resume, search
from nas.progress import Silent
from nas.run import read_run
from nas.run.events import FinalistTrained, PhaseFinished, SupernetEpoch
from nas.sampling.budget_sampler import BudgetSampler
from nas.spaces import SearchSpace, StageChoice
from nas.training import evaluate, fresh_network, train_network

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "cifar-search"
BUDGET, AIM, IMAGES = "5MFLOPs", 0.9, 10_000
# Chosen for about an hour on one thread, before any accuracy was seen.
OPTIONS = {"method": "supernet", "epochs": 24, "trials": 96, "finalists": 4, "finalist_epochs": 10, "seed": 0}
RANDOM_MEMBERS = 8
# CoAtNet-0 (Dai et al. 2021, table 3): widths and depths of S0 to S4.
COATNET_WIDTHS, COATNET_DEPTHS = (64, 96, 192, 384, 768), (2, 3, 5, 2)


class Lines(Silent):
    """Notes on standard error."""

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def subset(source: Path, target: Path) -> Path:
    """The first 1,000 training images of each class, and the whole test set."""
    if not target.exists():
        with np.load(source) as whole:
            labels = whole["y_train"]
            per_class = IMAGES // (int(labels.max()) + 1)
            chosen = np.sort(np.concatenate([np.flatnonzero(labels == c)[:per_class] for c in np.unique(labels)]))
            target.parent.mkdir(parents=True, exist_ok=True)
            np.savez(
                target,
                x_train=whole["x_train"][chosen],
                y_train=labels[chosen],
                x_test=whole["x_test"],
                y_test=whole["y_test"],
            )
    return target


def coatnet_shaped(space: SearchSpace, sampler: BudgetSampler) -> Architecture:
    """C-C-A-A with kernel 3 and expansion 4, and of those within range the nearest to CoAtNet-0's proportions.

    Nearness is the sum of squared log-ratios of widths (after the best common factor) and of depths (likewise).
    """
    best: tuple[float, Architecture] | None = None
    options = [[(w, d) for w in stage.widths for d in stage.depths] for stage in space.stages]

    def params(index: int, letter: str) -> tuple[int, ...]:
        fixed = {"expand_ratio": 4, "kernel_size": 3}
        return tuple(fixed[name] for name, _ in space.stages[index].op(letter).choices)

    def spread(values: list[int], model: tuple[int, ...]) -> float:
        ratios = [math.log(v / m) for v, m in zip(values, model, strict=True)]
        mean = sum(ratios) / len(ratios)
        return sum((r - mean) ** 2 for r in ratios)

    def walk(stem: tuple[int, ...], chosen: list[tuple[int, int]]) -> None:
        nonlocal best
        if len(chosen) < len(options):
            for pair in options[len(chosen)]:
                if pair[0] >= (chosen[-1][0] if chosen else space.stem.width(stem)):
                    walk(stem, [*chosen, pair])
            return
        widths = [space.stem.width(stem), *(w for w, _ in chosen)]
        distance = spread(widths, COATNET_WIDTHS) + spread([d for _, d in chosen], COATNET_DEPTHS)
        if best is not None and distance >= best[0]:
            return
        genes = tuple(
            StageChoice(letter, w, d, params(i, letter))
            for i, (letter, (w, d)) in enumerate(zip("CCAA", chosen, strict=True))
        )
        architecture = space.decode(type(space.encode(space.sample(random.Random(0))))(stem, genes))
        if sampler.in_range(nas.cost(architecture)):
            best = (distance, architecture)

    for stem in space.stem.combinations:
        walk(stem, [])
    assert best is not None, "no C-C-A-A member of CoAtNet's kind is in range"
    return best[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="cifar10.npz: x_train, y_train, x_test, y_test")
    parser.add_argument("--work", type=Path, default=Path("runs/cifar-search"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    data = subset(args.data, args.work / "cifar10-10000.npz")
    space, budget, run = nas.load_space("coatnet-small"), nas.Budget.parse(BUDGET), args.work / "run"
    if (run / "events.jsonl").exists():
        resume(run, progress=Lines())
    else:
        options = nas.SearchOptions.of(
            space="coatnet-small", out=str(run), min_share=AIM, threads=args.threads, **OPTIONS
        )
        search(space, budgets=[budget], data=str(data), options=options, progress=Lines())
    compare(space, budget, data, run)


def compare(space: SearchSpace, budget: nas.Budget, data: Path, run: Path) -> None:
    """Trains the CoAtNet-shaped member and random members exactly as the finalists were, and writes the results."""
    record = read_run(run)
    plan = Plan.from_dict(record.manifest["plan"], SupernetPlan, run)
    torch.set_num_threads(plan.threads)
    dataset = open_data(str(data)).load(resolution=plan.train_resolution, seed=OPTIONS["seed"])
    space = space.adapted(channels=dataset.info.channels, num_classes=dataset.info.num_classes)
    sampler = BudgetSampler(space, [budget], min_share=AIM)
    rng = random.Random("random members")
    others = [("coatnet-shaped", coatnet_shaped(space, sampler))]
    others += [(f"random {i + 1}", sampler.draw(rng).architecture) for i in range(RANDOM_MEMBERS)]
    rows = [
        {
            "network": f"finalist {i + 1}",
            "digest": event.digest,
            "layout": space.layout(space.encode(Architecture.from_dict(event.architecture))),
            "macs": event.macs,
            "params": event.params,
            "supernet_score": event.score,
            "search_validation": event.validation_accuracy,
            "test": event.test_accuracy,
        }
        for i, event in enumerate(record.events(FinalistTrained))
    ]
    folder = run.parent / "others"
    scored = supernet_scores(space, sampler, dataset, plan, run, [a for _, a in others])
    for (name, architecture), score in zip(others, scored, strict=True):
        rows.append(train_one(name, architecture, score, space, dataset, plan, folder))
    write(rows, record, plan)


def supernet_scores(space, sampler, dataset, plan, run, architectures) -> list[float]:  # type: ignore[no-untyped-def]
    """What the search's own scorer says of networks that it did not propose."""
    from nas.methods.supernet.scorer import SupernetScorer
    from nas.networks.supernet import Supernet
    from nas.training.checkpoint import load_checkpoint, newest

    supernet = Supernet(
        space.adapted(resolution=plan.train_resolution), seed=OPTIONS["seed"], choices=sampler.feasible_choices()
    )
    checkpoint = newest(run / "supernet")
    assert checkpoint is not None
    load_checkpoint(checkpoint, supernet)
    recipe = plan.recipe(epochs=1, seed=OPTIONS["seed"])
    scorer = SupernetScorer(
        supernet,
        dataset,
        recipe,
        recalibration_images=plan.of(SupernetPlan).recalibration_images,
        validation_images=plan.of(SupernetPlan).validation_images,
    )
    return [scorer.score(architecture) for architecture in architectures]


def train_one(name, architecture, score, space, dataset, plan, folder) -> dict:  # type: ignore[no-untyped-def]
    """One row: trained like a finalist, tested once; kept on disk, so that a second start does not repeat it."""
    kept = folder / f"{architecture.digest}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    cost = nas.cost(architecture)
    recipe = plan.recipe(epochs=plan.finalist_epochs, seed=OPTIONS["seed"], params=cost.params)
    network = fresh_network(architecture.at_resolution(plan.train_resolution), seed=OPTIONS["seed"])
    validation = train_network(network, dataset, recipe, progress=Silent(), folder=folder / architecture.digest)
    row = {
        "network": name,
        "digest": architecture.digest,
        "layout": space.layout(space.encode(architecture)),
        "macs": cost.macs,
        "params": cost.params,
        "supernet_score": score,
        "search_validation": validation,
        "test": evaluate(network, dataset.test, dataset, recipe),
    }
    kept.write_text(json.dumps(row))
    print(row, file=sys.stderr, flush=True)
    return row


def write(rows: list[dict], record, plan: Plan) -> None:  # type: ignore[no-untyped-def]
    """networks.csv and summary.json."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    header = list(rows[0])
    lines = [",".join(header)] + [",".join(str(row[key]) for key in header) for row in rows]
    (RESULTS / "networks.csv").write_text("\n".join(lines) + "\n")
    randoms = [row["test"] for row in rows if row["network"].startswith("random")]
    finalists = [row for row in rows if row["network"].startswith("finalist")]
    winner = max(finalists, key=lambda row: row["search_validation"])
    summary = {
        **provenance("python experiments/cifar-search/run.py --data cifar10.npz"),
        "threads": plan.threads,
        "plan": plan.to_dict(),
        "winner_test": winner["test"],
        "winner_layout": winner["layout"],
        "finalists_test_mean": float(np.mean([row["test"] for row in finalists])),
        "coatnet_shaped_test": next(row["test"] for row in rows if row["network"] == "coatnet-shaped"),
        "random_test_mean": float(np.mean(randoms)),
        "random_test_best": max(randoms),
        "ranking_of_all": rank_statistics(
            [row["supernet_score"] for row in rows],
            [row["test"] for row in rows],
            params=[row["params"] for row in rows],
            macs=[row["macs"] for row in rows],
            seed=0,
        ),
        "phase_seconds": {e.phase: e.seconds for e in record.events(PhaseFinished)},
        "curve": [{"epoch": e.epoch, "accuracies": e.accuracies} for e in record.events(SupernetEpoch)],
    }
    (RESULTS / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
