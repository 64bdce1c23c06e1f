"""The best candidates trained from scratch, ranked by what training says, tested once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.errors import TrainingError
from nas.model import Network
from nas.searching.context import Context
from nas.searching.ranking import rank_statistics
from nas.training import evaluate, fresh_network, train_network
from nas.trial import Trial, pareto_front


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """A trial whose architecture was trained from scratch.

    Attributes:
        validation_accuracy: On search-validation; it decides the ranks.
        test_accuracy: On the test split, read once; it decides nothing.
    """

    trial: Trial
    validation_accuracy: float
    test_accuracy: float
    network: Network


def choose_finalists(trials: Sequence[Trial], count: int) -> list[Trial]:
    """The score-cost front from its best score down, then the best scores that are left."""
    front = pareto_front(trials)[::-1]
    chosen = {trial.number: trial for trial in front[:count]}
    for trial in sorted((t for t in trials if t.complete), key=lambda t: (-(t.score or 0.0), t.number)):
        if len(chosen) >= count:
            break
        chosen.setdefault(trial.number, trial)
    return sorted(chosen.values(), key=lambda t: (-(t.score or 0.0), t.number))


def train_finalists(context: Context, trials: Sequence[Trial]) -> list[Finalist]:
    """Trains every finalist that the run has not recorded as trained, and tests each once.

    A training that fails is recorded and passed over; the others go on.

    Raises:
        TrainingError: If none could be trained.
    """
    run, data, plan, progress = context.run, context.data, context.plan, context.progress
    seed, metric = context.options.seed, context.options.metric
    recorded = {event["digest"]: event for event in run.events("finalist")}
    failed = {event["digest"] for event in run.events("finalist_failed")}
    # A training that goes on from a checkpoint sees some epochs again; they are on record.
    known = {(event["digest"], event["epoch"]) for event in run.events("finalist_epoch")}
    finished: list[Finalist] = []
    for place, trial in enumerate(trials, start=1):
        digest = trial.architecture.digest
        if digest in failed:
            continue
        folder = run.path / "finalists" / digest
        recipe = plan.recipe(epochs=plan.finalist_epochs, seed=seed)
        network = fresh_network(trial.architecture.at_resolution(plan.train_resolution), seed=seed)
        began = time.monotonic()

        def on_epoch(row: dict[str, Any], digest: str = digest) -> None:
            if (digest, row["epoch"]) not in known:
                run.append("finalist_epoch", digest=digest, validation_accuracy=None, **row)

        try:
            validation = train_network(
                network,
                data,
                recipe,
                progress=progress,
                phase=f"finalist {place} of {len(trials)}",
                folder=folder,
                metric=metric,
                on_epoch=on_epoch,
            )
        except TrainingError as fault:
            run.append("finalist_failed", digest=digest, number=trial.number, error=str(fault))
            progress.note(f"Finalist {place} (trial {trial.number}) failed: {fault}")
            continue
        event = recorded.get(digest)
        if event is None:
            test = evaluate(network, data.test, data, recipe, metric=metric)
            event = {
                "digest": digest,
                "number": trial.number,
                "score": trial.score,
                "validation_accuracy": validation,
                "test_accuracy": test,
                "macs": trial.cost.macs,
                "params": trial.cost.params,
                "epochs": plan.finalist_epochs,
                "seconds": time.monotonic() - began,
                "resolution": plan.train_resolution,
                "architecture": trial.architecture.to_dict(),
            }
            run.append("finalist", **event)
        finished.append(
            Finalist(
                trial=trial,
                validation_accuracy=event["validation_accuracy"],
                test_accuracy=event["test_accuracy"],
                network=network,
            )
        )
        progress.note(
            f"Finalist {place} of {len(trials)} ({trial.layout}, {trial.cost.macs / 1e6:,.1f} MMACs): "
            f"search-validation {event['validation_accuracy']:.4f}, score {trial.score or 0.0:.4f}"
        )
    if not finished:
        raise TrainingError("No finalist could be trained; events.jsonl has the reasons. Try --dtype float32.")
    return sorted(finished, key=lambda f: (-f.validation_accuracy, f.trial.cost.macs, f.trial.number))


def ranking(finalists: Sequence[Finalist], *, seed: int) -> dict[str, Any]:
    """How well the score, and params and MACs alone, foretold the trained networks' test accuracies."""
    return rank_statistics(
        [float(f.trial.score or 0.0) for f in finalists],
        [f.test_accuracy for f in finalists],
        params=[f.trial.cost.params for f in finalists],
        macs=[f.trial.cost.macs for f in finalists],
        seed=seed,
    )


def winners(finalists: Sequence[Finalist]) -> list[Finalist]:
    """The finalists that no other beats in both trained accuracy and multiply-adds, best accuracy first."""
    front: list[Finalist] = []
    for finalist in finalists:
        if not front or finalist.trial.cost.macs < front[-1].trial.cost.macs:
            front.append(finalist)
    return front
