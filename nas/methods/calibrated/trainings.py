"""The trainings of a calibration: in a search, the first epochs of a finalist's; in `nas rank`, short complete ones."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nas.architecture import Architecture
from nas.costs import cost
from nas.data import Augment, choose_augment
from nas.errors import OptionError
from nas.formats import count
from nas.jobs.executor import Executor, Result
from nas.jobs.training import TrainingJob
from nas.methods.calibrated.calibration import rank_correlation, train_shortly
from nas.methods.calibrated.planning import FEWEST, CalibratedPlan
from nas.methods.protocol.context import Context
from nas.methods.protocol.ranking import RankingTask
from nas.run.events import CalibrationFailed, CalibrationOrder, CalibrationRetried, CalibrationTrained
from nas.run.files import atomic_write
from nas.training import Recipe, learning_rate_for

SETTLED = 0.79
"""Least Spearman correlation of the ranking half-way with that at the end for it to count as stable; 0.8 is the value
of four networks of which two neighbors swap places."""
_CPU_SECONDS = "cpu-seconds.txt"


class RecordedTraining:
    """Trains networks of a search up to some epoch; results are recorded and not computed again.

    They are the first epochs of a finalist's training, in a finalist's folder, so that a finalist resumes from them.

    Args:
        executor: Trains them, those of one call side by side.

    Attributes:
        failed: Digests of the networks whose training failed.
    """

    def __init__(self, context: Context, executor: Executor) -> None:
        self._context, self._executor = context, executor
        self._known = {(event.digest, event.epochs): event.accuracy for event in context.run.events(CalibrationTrained)}
        self.failed = {event.digest for event in context.run.events(CalibrationFailed)}

    @property
    def digests(self) -> list[str]:
        return list(dict.fromkeys(digest for digest, _ in self._known))

    def longest(self, rows: Mapping[str, int]) -> list[tuple[int, float]]:
        """Returns the rows of the networks with the most epochs, with their accuracies."""
        most = max(epochs for _, epochs in self._known)
        return [(rows[digest], accuracy) for (digest, epochs), accuracy in self._known.items() if epochs == most]

    def __call__(self, networks: Mapping[str, Architecture], epochs: int) -> Iterator[float | None]:
        """Yields each network's accuracy after `epochs` epochs, in order, or None where the training fails.

        Args:
            networks: By the phases that a display calls their trainings.
        """
        todo = {
            phase: network
            for phase, network in networks.items()
            if network.digest not in self.failed and (network.digest, epochs) not in self._known
        }
        results = self._executor.map([self._job(network, phase, epochs) for phase, network in todo.items()])
        for phase, network in networks.items():
            if phase in todo:
                self._record(network, phase, epochs, next(results))
            yield None if network.digest in self.failed else self._known[network.digest, epochs]

    def _job(self, network: Architecture, phase: str, epochs: int) -> TrainingJob:
        context = self._context
        return TrainingJob.of(
            network,
            context.network_recipe(cost(network).params),
            resolution=context.data.resolution,
            metric=context.options.metric,
            until=epochs,
            phase=phase,
        )

    def _record(self, network: Architecture, phase: str, epochs: int, result: Result) -> None:
        context, digest = self._context, network.digest
        if result.retries:
            context.run.append(CalibrationRetried(digest=digest, epochs=epochs, reasons=list(result.retries)))
            context.progress.note(
                f"The training for {phase} took {len(result.retries) + 1} tries, each from the last checkpoint: "
                f"{result.retries[-1]}"
            )
        if result.error is not None:
            self.failed.add(digest)
            context.run.append(CalibrationFailed(digest=digest, error=result.error, seconds=result.seconds))
            context.progress.note(f"The training for {phase} failed and is left out: {result.error}")
            return
        self._known[digest, epochs] = result.value
        context.run.append(
            CalibrationTrained(
                digest=digest,
                accuracy=result.value,
                epochs=epochs,
                learning_rate=context.network_recipe(cost(network).params).learning_rate,
                seconds=result.seconds,
                architecture=network.to_dict(),
            )
        )


def until_settled(
    context: Context, networks: Sequence[Architecture], rows: Sequence[int], training: RecordedTraining
) -> list[tuple[int, float]]:
    """Trains the networks of some rows for the planned epochs, or only half of them twice as long.

    The latter if the ranking of that half is not stable: if it differs between half-way and the end. Which networks
    train next, and for how long, follows from accuracies alone, never from which training ends first.

    Returns:
        The rows that could be trained, with their accuracies.
    """
    plan, own = context.plan, context.plan.of(CalibratedPlan)
    first = rows[: max(FEWEST, -(-len(rows) // 2))]

    def train(some: Sequence[int], epochs: int, *, place: int = 0) -> list[tuple[int, float]]:
        phases = [f"calibration {number} of {len(rows)}" for number in range(place + 1, place + 1 + len(some))]
        accuracies = training({phase: networks[row] for phase, row in zip(phases, some, strict=True)}, epochs)
        found: list[tuple[int, float]] = []
        for phase, row, accuracy in zip(phases, some, accuracies, strict=True):
            if accuracy is not None:
                found.append((row, accuracy))
                context.progress.note(f"Trained for {phase}: {accuracy:.4f} after {count(epochs, 'epoch')}")
        return found

    halfway = own.epochs // 2
    begun = {f"calibration {number} of {len(rows)}": networks[row] for number, row in enumerate(first, start=1)}
    before = dict(zip(first, training(begun, halfway), strict=True)) if halfway else {}
    found = train(first, own.epochs)
    order = rank_correlation([before[row] or 0.0 for row, _ in found], [a for _, a in found]) if halfway else None
    longer = 2 * own.epochs
    moves = order is not None and order < SETTLED and longer <= plan.finalist_epochs
    if order is not None and not context.run.events(CalibrationOrder):
        context.run.append(CalibrationOrder(networks=len(found), epochs=own.epochs, spearman=order, settled=not moves))
        said = "has not settled: they train twice as long, and no others" if moves else "has settled"
        if order < SETTLED and not moves:
            said = f"has not settled, and finalists train for {plan.finalist_epochs} epochs alone"
        epochs = f"after {halfway} and {own.epochs} epochs"
        context.progress.note(f"Spearman of {len(found)} networks {epochs}: {order:.2f}; their order {said}")
    if moves:
        return train(first, longer)
    return found + train(rows[len(first) :], own.epochs, place=len(first))


class LedgerTraining:
    """Short trainings of `nas rank`, stored in the ledger once they are finished.

    A stopped training resumes from its checkpoint; a file beside it has its cost so far.
    """

    def __init__(self, task: RankingTask, epochs: int) -> None:
        self._task, self._epochs = task, epochs
        self._augment: Augment = choose_augment(task.settings.augment, task.data.info)

    def __call__(self, architecture: Architecture, phase: str) -> float:
        epochs, path = self._epochs, self._task.ledger.path
        varied = "" if self._augment == "none" else f", {self._augment}"
        folder = None if path is None else path.parent / f"{architecture.digest}-{epochs}{varied.replace(', ', '-')}"
        before = 0.0 if folder is None else _cpu_seconds(folder / _CPU_SECONDS)
        return self._task.ledger.recall(
            architecture.digest,
            f"accuracy after {count(epochs, 'epoch')}{varied}",
            lambda: self._train(architecture, folder, before),
            before=before,
        )

    def _train(self, architecture: Architecture, folder: Path | None, before: float) -> float:
        settings, began = self._task.settings, time.process_time()

        def note_seconds() -> None:
            if folder is not None:
                atomic_write(folder / _CPU_SECONDS, f"{before + time.process_time() - began}")

        recipe = Recipe(
            epochs=self._epochs,
            batch_size=64,
            learning_rate=learning_rate_for(cost(architecture).params, 64),
            augment=self._augment,
            dtype="float32",
            device=settings.device,
            seed=settings.seed,
        )
        accuracy = train_shortly(
            architecture,
            self._task.data,
            recipe,
            progress=self._task.progress,
            phase="calibration",
            folder=folder,
            after_save=note_seconds,
        )
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)  # its result goes into the ledger
        return accuracy


def _cpu_seconds(path: Path) -> float:
    """Returns the CPU seconds of a stopped training so far; 0 if there is none."""
    try:
        return float(path.read_text()) if path.exists() else 0.0
    except ValueError:
        raise OptionError(f"{path} is damaged: it must hold a number of seconds. Delete {path.parent}.") from None
