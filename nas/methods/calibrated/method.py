"""The method `calibrated`: reference networks are measured, a few trained shortly, and a score is fitted to both."""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from nas.architecture import Architecture
from nas.costs import cost
from nas.data import Augment, choose_augment
from nas.errors import OptionError, RunError, TrainingError
from nas.jobs.backend import ScorerSource
from nas.jobs.executor import Scorer
from nas.methods.calibrated.calibration import Calibration, calibrate, train_shortly
from nas.methods.calibrated.features import FeatureGroups, Proxies
from nas.methods.calibrated.options import CalibratedOptions
from nas.methods.calibrated.scorer import CalibratedScorer, CalibratedScoring
from nas.methods.protocol.context import Context
from nas.methods.protocol.phases import is_finished
from nas.methods.protocol.plan import MethodPlan, Plan, Planned, Workload, within
from nas.methods.protocol.ranking import RankingTask
from nas.methods.protocol.search_method import MethodDisk, RankedScorer, SearchMethod
from nas.methods.reference import reference_networks
from nas.methods.zero_cost.planning import proxy_seconds, reference_count
from nas.methods.zero_cost.proxies import PROXIES
from nas.methods.zero_cost.proxy_cache import ProxyValues
from nas.options import SearchOptions
from nas.run import Run, RunRecord
from nas.run.events import CalibrationFailed, CalibrationTrained, ProxiesMeasured
from nas.run.files import atomic_write
from nas.training import Recipe, learning_rate_for
from nas.training.checkpoint import newest, read_facts
from nas.training.threads import threads_set

FOLDER = "calibration"
_FEWEST = 2
_TRAININGS = 12
_CPU_SECONDS = "cpu-seconds.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedPlan(MethodPlan):
    """The plan of a calibration.

    Attributes:
        reference: Networks that are measured, of which some are trained.
        trainings: The compute that trainings may spend, in those of the average reference network.
        epochs: Of each training.
    """

    reference: int
    trainings: int
    epochs: int


class CalibratedMethod(SearchMethod[CalibratedOptions]):
    """Scores by the accuracy that a Gaussian process predicts, fitted to short trainings of a few networks.

    Why, and what speaks against it: docs/decisions/0008-calibrated-score.md.
    """

    phase = FOLDER
    plan_type = CalibratedPlan
    free_scores = True

    # -- planning ------------------------------------------------------------------------------------------------

    def plan(self, workload: Workload) -> Planned:
        reference, each = reference_count(workload), proxy_seconds(workload)
        trainings = self.options.calibrations or _TRAININGS
        most = max(1, workload.finalist_epochs // 2)
        affordable = round(0.75 * workload.affordable / (trainings * workload.images))
        epochs = self.options.calibration_epochs or within(affordable, 1, most)
        own = CalibratedPlan(reference=reference, trainings=min(trainings, reference), epochs=epochs)
        training = own.trainings * epochs * workload.images / workload.rate
        return Planned(own=own, training_seconds=reference * each + training, trial_seconds=each)

    def describe(self, plan: Plan, options: SearchOptions, *, images: int) -> tuple[str, list[str]]:
        own = plan.of(CalibratedPlan)
        first = (
            f"Scores: {self.name}, by trainings of {own.epochs} epoch{'s' * (own.epochs != 1)} of {images:,} images "
            f"with the compute of {own.trainings} of {own.reference} networks"
        )
        return first, []

    def disk(self, plan: Plan, *, network: int) -> MethodDisk:
        # One network at a time, with three checkpoints of weights and two moments; they go once its accuracy is on
        # record.
        return MethodDisk(training=3 * 3 * network)

    # -- searching -----------------------------------------------------------------------------------------------

    def train(self, context: Context) -> Calibration:
        """Measures and trains what the run has not on record yet, and continues from the last checkpoint.

        A training that fails is recorded and passed over, as a finalist's is; the others go on.

        Raises:
            TrainingError: If trainings failed and fewer than two are left.
        """
        plan, seed, own = context.plan, context.options.seed, context.plan.of(CalibratedPlan)
        networks = reference_networks(context.sampler, own.reference, seed=seed)
        proxies = Proxies(ProxyValues(context.data, seed=seed, device=plan.proxy_device))
        with threads_set(plan.job_threads):
            reference = _measure(context, networks, proxies)
        training = _RecordedTraining(context)
        # An earlier version may have chosen others; what was scored by these stays so.
        rows = _places(context.run, networks, list(training.known)) if is_finished(context.run, FOLDER) else None
        found = calibrate(networks, reference, training, trainings=own.trainings, rows=rows)
        attempted = len(found.trained) + len(training.failed)
        if len(found.trained) < min(_FEWEST, attempted):
            # What a run is made with is settled: to continue it would fail again.
            raise TrainingError(
                f"A calibration needs {_FEWEST} trained networks, and {len(found.trained)} of {attempted} could be "
                "trained; events.jsonl has the reasons. Start a new run with --dtype float32 or another --batch-size."
            )
        return found

    def scorer(self, context: Context, trained: Calibration) -> ScorerSource:
        device = context.plan.proxy_device
        return CalibratedScoring(calibration=trained, data=context.data, seed=context.options.seed, device=device)

    def first_proposals(self, run: RunRecord) -> tuple[Architecture, ...]:
        """The networks of the calibration, the best first, so that the best of them may become finalists."""
        found = sorted(run.events(CalibrationTrained), key=lambda event: -event.accuracy)
        return tuple(Architecture.from_dict(event.architecture) for event in found)

    # -- nas rank ------------------------------------------------------------------------------------------------

    def ranked(self, task: RankingTask) -> RankedScorer:
        data, settings = task.data, task.settings  # read now, so that they are refused before anything is scored
        epochs, notes = self.options.calibration_epochs or 1, list[str]()

        def make() -> Scorer:
            proxies = Proxies(ProxyValues(data, seed=settings.seed, device=settings.device, memory=task.ledger))
            networks = task.architectures
            reference = FeatureGroups.of(networks, proxies, progress=task.progress)
            trainings = self.options.calibrations or _TRAININGS
            found = calibrate(networks, reference, LedgerTraining(task, epochs), trainings=trainings)
            shown = ", ".join(f"{accuracy:.3f}" for _, accuracy in found.trained)
            count = len(found.trained)
            notes.append(f"{count} networks were trained for {epochs} epoch{'s' * (epochs != 1)}: {shown}")
            return CalibratedScorer(found, proxies)

        return RankedScorer(make=make, notes=notes)


class _RecordedTraining:
    """Short trainings of a search: on record once they are done, and not done again.

    Attributes:
        known: Accuracies by digest.
        failed: Digests of those that failed.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.known = {event.digest: event.accuracy for event in context.run.events(CalibrationTrained)}
        self.failed = {event.digest for event in context.run.events(CalibrationFailed)}

    def __call__(self, architecture: Architecture, phase: str) -> float | None:
        digest = architecture.digest
        if digest not in self.known and digest not in self.failed:
            accuracy = self._train(architecture, phase)
            if accuracy is None:
                self.failed.add(digest)
            else:
                self.known[digest] = accuracy
        return self.known.get(digest)

    def _train(self, architecture: Architecture, phase: str) -> float | None:
        context = self._context
        run, plan, options, progress = context.run, context.plan, context.options, context.progress
        digest, epochs = architecture.digest, plan.of(CalibratedPlan).epochs
        folder = run.path / FOLDER / digest
        earlier, began = _seconds_so_far(folder), time.monotonic()
        try:
            accuracy = train_shortly(
                architecture,
                context.data,
                plan.recipe(epochs=epochs, seed=options.seed),
                progress=progress,
                phase=phase,
                folder=folder,
                metric=options.metric,
            )
        except TrainingError as fault:
            accuracy = None
            run.append(CalibrationFailed(digest=digest, error=str(fault), seconds=earlier + time.monotonic() - began))
            progress.note(f"The training for {phase} failed and is left out: {fault}")
        else:
            run.append(
                CalibrationTrained(
                    digest=digest,
                    accuracy=accuracy,
                    epochs=epochs,
                    seconds=earlier + time.monotonic() - began,
                    architecture=architecture.to_dict(),
                )
            )
            progress.note(f"Trained for {phase}: {accuracy:.4f} after {epochs} epoch{'s' * (epochs != 1)}")
        shutil.rmtree(folder, ignore_errors=True)  # what it was for is on record
        return accuracy


class LedgerTraining:
    """Short trainings of `nas rank`: in the ledger once they are done.

    One that was stopped continues from its checkpoint, beside which stands what it has cost so far.
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
            f"accuracy after {epochs} epochs{varied}",
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
            shutil.rmtree(folder, ignore_errors=True)  # what it was for goes on record
        return accuracy


def _measure(context: Context, networks: list[Architecture], proxies: Proxies) -> FeatureGroups:
    """The proxies of all, each on record once it is known."""
    run, progress = context.run, context.progress
    recorded: set[str] = set()
    for event in run.events(ProxiesMeasured):
        recorded.add(event.digest)
        proxies.know(event.digest, _numbers(run, event.proxies))
    progress.start("proxies", len(networks), "networks")
    for network in networks:
        values = proxies(network)
        if network.digest not in recorded:
            # JSON has no infinities.
            plain = [value if math.isfinite(value) else str(value) for value in values]
            run.append(ProxiesMeasured(digest=network.digest, proxies=plain))
        progress.advance()
    progress.finish()
    return FeatureGroups.of(networks, proxies)


def _numbers(run: Run, plain: list[float | str]) -> list[float]:
    try:
        found = [float(value) for value in plain]
    except ValueError:
        found = []
    if len(found) != len(PROXIES.names()):
        raise RunError(f"{run.path}: a network was measured in a way that this version does not know. Start a new run.")
    return found


def _places(run: Run, networks: list[Architecture], digests: list[str]) -> list[int]:
    places = {network.digest: row for row, network in enumerate(networks)}
    if any(digest not in places for digest in digests):
        raise RunError(f"{run.path}: networks were trained that this version does not sample. Start a new run.")
    return [places[digest] for digest in digests]


def _seconds_so_far(folder: Path) -> float:
    """What the last checkpoint of a training knows of earlier sessions."""
    path = newest(folder)
    return 0.0 if path is None else float(cast("Any", read_facts(path).get("seconds", 0.0)))


def _cpu_seconds(path: Path) -> float:
    """CPU seconds that a training that was stopped has taken; none where there was none."""
    try:
        return float(path.read_text()) if path.exists() else 0.0
    except ValueError:
        raise OptionError(f"{path} is damaged: it must hold a number of seconds. Delete {path.parent}.") from None
