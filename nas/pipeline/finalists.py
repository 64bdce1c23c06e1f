"""Finalists: trained from scratch or from a parent's weights, ranked by validation accuracy, tested once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.benchmark.rank_statistics import rank_statistics
from nas.errors import TrainingError
from nas.formats import chosen_by_words, is_rival, score_text
from nas.jobs.executor import is_lack_of_memory, lack_of_memory
from nas.jobs.training import Beginnings, TrainingJob, TrainingWork
from nas.methods.protocol.context import Context
from nas.methods.protocol.plan import epochs_validated
from nas.networks.network import Network
from nas.networks.sealed_file import weights_digest
from nas.pipeline.portfolio import SCORE, Pick
from nas.run.events import FinalistEpoch, FinalistFailed, FinalistRetried, FinalistStopped, FinalistTrained
from nas.training import Recipe, evaluate, train_network
from nas.training.checkpoint import newest, read_facts
from nas.trial import Trial, non_dominated


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """A network that was trained to the end: of the search, or a rival.

    Attributes:
        chosen_by: What made it a finalist: "score", the name of a count, "random", several of these
            ("score+params"), or the name of a rival.
        epochs: Of its training.
        inherits: Whether it began with trained weights.
        validation_accuracy: On search-validation; determines the ranks.
        test_accuracy: On the test split, measured once; used for no decision.
    """

    trial: Trial
    chosen_by: str = SCORE
    epochs: int
    inherits: bool = False
    validation_accuracy: float
    test_accuracy: float
    network: Network


def train_finalists(context: Context, picks: Sequence[Pick], beginnings: Beginnings | None = None) -> list[Finalist]:
    """Trains every finalist that the run has not recorded as trained, and tests each once.

    The backend trains what it can, in parallel; this process continues from the checkpoints that it left. A training
    that fails, or is stopped because it falls behind, is recorded and skipped.

    Args:
        beginnings: What they begin with; None for training from scratch.

    Raises:
        TrainingError: If no finalist could be trained.
    """
    plan, trials, backend = context.plan, [pick.trial for pick in picks], context.backend
    record = _Record(context, picks, beginnings or Beginnings())
    recorded = {event.digest for event in context.run.events(FinalistTrained)}
    jobs = [
        TrainingJob.of(
            trial.architecture,
            record.recipe(pick),
            resolution=plan.train_resolution,
            metric=context.options.metric,
        )
        for pick in picks
        if (trial := pick.trial).architecture.digest not in recorded | record.ended
    ]
    work = TrainingWork(
        data=context.data,
        folder=context.finalists_folder,
        threads=plan.threads,
        early_stopping=context.options.early_stopping,
        beginnings=record.beginnings,
    )
    _drop_others(work.folder, {trial.architecture.digest for trial in trials})
    record.tell_lost()
    for job in jobs:
        _drop_shorter(work.folder / job.digest, job.recipe["epochs"])
    for epochs in dict.fromkeys(job.recipe["epochs"] for job in jobs):  # those that train as long compare side by side
        backend.train([job for job in jobs if job.recipe["epochs"] == epochs], work, record)
    placed = list(enumerate(trials, start=1))
    finished = [f for place, t in placed if t.architecture.digest not in record.ended and (f := _finish(record, place))]
    if not finished and (best := record.best_stopped()) is not None:
        # The finalists that were ahead of it failed later.
        finished = [f for place, t in placed if t.architecture.digest == best and (f := _finish(record, place))]
    if not finished:
        raise TrainingError(
            "No finalist could be trained; events.jsonl has the reasons. Try --dtype float32, or where memory ran out "
            "a smaller --batch-size."
        )
    return sorted(finished, key=lambda f: (-f.validation_accuracy, f.trial.cost.macs, f.trial.number))


def _drop_others(folder: Path, digests: set[str]) -> None:
    """Deletes the checkpoints of networks that were trained for a calibration and are not finalists."""
    for found in folder.iterdir() if folder.is_dir() else ():
        if found.is_dir() and found.name not in digests:
            shutil.rmtree(found, ignore_errors=True)


def _drop_shorter(folder: Path, epochs: int) -> None:
    """Deletes the checkpoints of a rival that was trained for a calibration, with the schedule of a finalist."""
    last = newest(folder)
    if last is not None and read_facts(last)["recipe"]["epochs"] != epochs:
        shutil.rmtree(folder)


class _Record:
    """Records the progress of one run's finalists; a `FinalistRecord`.

    Attributes:
        ended: Digests of those that failed or were stopped.
    """

    def __init__(self, context: Context, picks: Sequence[Pick], beginnings: Beginnings) -> None:
        self.beginnings = beginnings
        self.context, self.picks, self._run = context, picks, context.run
        self.trials = [pick.trial for pick in picks]
        self._numbers = {trial.architecture.digest: trial.number for trial in self.trials}
        # A resumed training repeats epochs after its checkpoint; they are recorded already.
        self._known = {(event.digest, event.epoch) for event in self._run.events(FinalistEpoch)}

    def recipe(self, pick: Pick) -> Recipe:
        """Returns the recipe of a finalist's training."""
        plan, trial = self.context.plan, pick.trial
        return self.context.network_recipe(
            trial.cost.params,
            epochs=plan.rival_epochs if is_rival(pick.chosen_by) else plan.finalist_epochs,
        )

    @property
    def ended(self) -> set[str]:
        return {event.digest for event in (*self._run.events(FinalistFailed), *self._run.events(FinalistStopped))}

    def best_stopped(self) -> str | None:
        """Returns the digest of the best finalist among those stopped, None if there is none."""
        events = self._run.events(FinalistStopped)
        return max(events, key=lambda event: event.validation_accuracy).digest if events else None

    def epoch(self, digest: str, row: dict[str, Any]) -> None:
        if (digest, row["epoch"]) not in self._known:
            self._known.add((digest, row["epoch"]))
            recorded = {name: value for name, value in row.items() if name in FinalistEpoch.__struct_fields__}
            self._run.append(FinalistEpoch(digest=digest, **recorded))

    def seconds(self, digest: str) -> float:
        """Returns the duration of a training, on whichever process it ran."""
        rows = (event for event in self._run.events(FinalistEpoch) if event.digest == digest)
        return max((event.seconds for event in rows), default=0.0)

    def epochs_done(self, digest: str, recipe: Recipe) -> int:
        """Returns the last epoch of a training that has ended: the recipe's, unless its patience ended it earlier."""
        done = max((event.epoch for event in self._run.events(FinalistEpoch) if event.digest == digest), default=0)
        return done if recipe.patience and done else recipe.epochs

    def stopped(self, digest: str, epoch: int, validation_accuracy: float) -> None:
        self._run.append(
            FinalistStopped(
                digest=digest,
                number=self._numbers[digest],
                epoch=epoch,
                validation_accuracy=validation_accuracy,
            )
        )
        self.context.progress.note(
            f"{self.name(digest)} fell behind and was stopped after epoch {epoch}: {validation_accuracy:.4f}"
        )

    def failed(self, digest: str, error: str) -> None:
        self._run.append(FinalistFailed(digest=digest, number=self._numbers[digest], error=error))
        self.context.progress.note(f"{self.name(digest)} failed: {error}")

    def retried(self, digest: str, reason: str) -> None:
        self._run.append(FinalistRetried(digest=digest, number=self._numbers[digest], reason=reason))
        self.context.progress.note(f"{self.name(digest)} goes on from its last checkpoint: {reason}")

    def tell_lost(self) -> None:
        """Says which trainings begin again, since their checkpoints are gone."""
        for digest in dict.fromkeys(digest for digest, _ in sorted(self._known) if digest not in self.ended):
            if digest in self._numbers and newest(self.context.finalists_folder / digest) is None:
                done = max(epoch for known, epoch in self._known if known == digest)
                self.context.progress.note(
                    f"{self.name(digest)} trains again from the start: its checkpoint after epoch {done} is gone"
                )

    def name(self, digest: str) -> str:
        place = [trial.architecture.digest for trial in self.trials].index(digest) + 1
        return f"Finalist {place} of {len(self.trials)} (trial {self._numbers[digest]})"


def _finish(record: _Record, place: int) -> Finalist | None:
    """Completes, tests and records a finalist's training, unless that is on record; returns None if it fails."""
    context, pick = record.context, record.picks[place - 1]
    trial = pick.trial
    run, data, plan, progress = context.run, context.data, context.plan, context.progress
    seed, metric, digest = context.options.seed, context.options.metric, trial.architecture.digest
    recipe = record.recipe(pick)
    trained = trial.architecture.at_resolution(plan.train_resolution)
    network = record.beginnings.network(trained, digest=digest, seed=seed)
    began = time.monotonic()
    try:
        validation = train_network(
            network,
            data,
            recipe,
            progress=progress,
            phase=f"finalist {place} of {len(record.trials)}",
            folder=context.finalists_folder / digest,
            metric=metric,
            on_epoch=lambda row: record.epoch(digest, row),
            validate=epochs_validated(recipe.epochs),
            teacher=record.beginnings.taught_by(),
        )
    except TrainingError as fault:
        record.failed(digest, str(fault))
        return None
    except (MemoryError, RuntimeError) as fault:
        if not is_lack_of_memory(fault):
            raise
        record.failed(digest, lack_of_memory(fault))
        return None
    weights = weights_digest(network)
    event = next((event for event in reversed(run.events(FinalistTrained)) if event.digest == digest), None)
    if event is not None and not _is_as_recorded(event, weights, validation):
        progress.note(f"{record.name(digest)} has other weights than recorded, so it is tested again")
        event = None
    if event is None:
        test = evaluate(network, data.test, data, recipe, metric=metric)
        event = FinalistTrained(
            digest=digest,
            number=trial.number,
            score=trial.score,
            validation_accuracy=validation,
            test_accuracy=test,
            macs=trial.cost.macs,
            params=trial.cost.params,
            epochs=record.epochs_done(digest, recipe),
            learning_rate=recipe.learning_rate,
            seconds=max(record.seconds(digest), time.monotonic() - began),
            resolution=plan.train_resolution,
            architecture=trial.architecture.to_dict(),
            chosen_by=pick.chosen_by,
            weights_sha256=weights,
        )
        run.append(event)
    progress.note(
        f"Finalist {place} of {len(record.trials)} ({trial.layout}, {trial.cost.macs / 1e6:,.1f} MMACs): "
        f"search-validation {event.validation_accuracy:.4f}, {_why(pick)}"
    )
    return Finalist(
        trial=trial,
        chosen_by=pick.chosen_by,
        epochs=event.epochs or recipe.epochs,
        inherits=digest in record.beginnings.weights,
        validation_accuracy=event.validation_accuracy,
        test_accuracy=event.test_accuracy,
        network=network,
    )


def _is_as_recorded(event: FinalistTrained, weights: str, validation: float) -> bool:
    """Returns whether a trained network is the one that was recorded; an earlier version recorded only accuracies."""
    return weights == event.weights_sha256 if event.weights_sha256 else validation == event.validation_accuracy


def _why(pick: Pick) -> str:
    scored = "no score" if pick.trial.score is None else f"score {score_text(pick.trial.score)}"
    if is_rival(pick.chosen_by):
        return chosen_by_words(pick.chosen_by)
    return scored if pick.chosen_by == SCORE else f"{scored}, chosen: {chosen_by_words(pick.chosen_by)}"


def ranking(finalists: Sequence[Finalist], *, seed: int) -> dict[str, Any]:
    """Returns how well the score, and params and MACs alone, predict the trained networks' test accuracies."""
    scored = [f for f in finalists if f.trial.score is not None]
    return rank_statistics(
        [float(f.trial.score or 0.0) for f in scored],
        [f.test_accuracy for f in scored],
        params=[f.trial.cost.params for f in scored],
        macs=[f.trial.cost.macs for f in scored],
        seed=seed,
    )


def on_front(
    finalists: Sequence[Finalist],
    objectives: Sequence[str] = ("macs",),
    *,
    latencies: Mapping[str, float] | None = None,
) -> list[bool]:
    """Per finalist, whether no other is at least as accurate and costs no more by any objective, in one of them less.

    Args:
        latencies: Those that were measured, by digest; elsewhere they are predicted.
    """

    def cost(finalist: Finalist, metric: str) -> float:
        known = (latencies or {}).get(finalist.trial.architecture.digest) if metric == "latency_s" else None
        return float((finalist.trial.cost.value(metric) if known is None else known) or 0)

    points = [(*(cost(f, metric) for metric in objectives), -f.validation_accuracy) for f in finalists]
    order = sorted(range(len(points)), key=points.__getitem__)
    front = {order[place] for place in non_dominated([points[each] for each in order])}
    return [place in front for place in range(len(points))]
