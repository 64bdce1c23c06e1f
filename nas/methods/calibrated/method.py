"""The method `calibrated`: reference networks are measured, a few trained shortly, and a score is fitted to both."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from nas.architecture import Architecture
from nas.costs import cost
from nas.data import Augment, choose_augment
from nas.errors import OptionError, RunError, TrainingError
from nas.jobs.backend import ScorerSource
from nas.jobs.executor import Scorer
from nas.methods.calibrated.calibration import (
    Calibration,
    calibrate,
    chosen_rows,
    leave_one_out,
    rank_correlation,
    train_shortly,
)
from nas.methods.calibrated.features import FeatureGroups, Proxies
from nas.methods.calibrated.options import CalibratedOptions
from nas.methods.calibrated.planning import (
    FALLBACK,
    FEWEST,
    TRAININGS,
    WORTH_IT,
    CalibratedPlan,
    plan_calibration,
)
from nas.methods.calibrated.report import left_out_line, longest_trainings
from nas.methods.calibrated.scorer import CalibratedScorer, CalibratedScoring
from nas.methods.counted import CountedScoring
from nas.methods.protocol.context import Context
from nas.methods.protocol.phases import is_finished
from nas.methods.protocol.plan import TRAINING_SHARE, Plan, Planned, Workload
from nas.methods.protocol.ranking import RankingTask
from nas.methods.protocol.search_method import MethodDisk, RankedScorer, SearchMethod
from nas.methods.reference import reference_networks
from nas.methods.zero_cost.proxies import PROXIES
from nas.methods.zero_cost.proxy_cache import ProxyValues
from nas.options import SearchOptions
from nas.run import Run, RunRecord
from nas.run.events import (
    CalibrationFailed,
    CalibrationLeftOut,
    CalibrationOrder,
    CalibrationTrained,
    ProxiesMeasured,
)
from nas.run.files import atomic_write
from nas.training import Recipe, learning_rate_for
from nas.training.checkpoint import newest, read_facts
from nas.training.threads import threads_set

FOLDER, FINALISTS = "calibration", "finalists"
SETTLED = 0.8
"""Spearman's correlation of the networks' order half-way with that at the end, from which it counts as settled."""
_FEWEST = 2
_CPU_SECONDS = "cpu-seconds.txt"


class CalibratedMethod(SearchMethod[CalibratedOptions]):
    """Scores by the accuracy that a Gaussian process predicts, fitted to short trainings of a few networks.

    Why, and what speaks against it: docs/decisions/0008-calibrated-score.md.
    """

    phase = FOLDER
    training_share = TRAINING_SHARE
    _measured: tuple[Architecture, ...] = ()
    plan_type = CalibratedPlan
    free_scores = True

    # -- planning ------------------------------------------------------------------------------------------------

    def plan(self, workload: Workload) -> Planned:
        return plan_calibration(workload, self.options)

    def describe(self, plan: Plan, options: SearchOptions, *, images: int) -> tuple[str, list[str]]:
        own = plan.of(CalibratedPlan)
        if not own.trainings:
            reason = (
                f"Scores are counted parameters: beside finalists of {WORTH_IT} epochs or more, there is no time to "
                f"train {FEWEST} networks for a sixth of theirs, and shorter trainings mislead. A longer --time, or "
                "--calibrations, trains some."
            )
            return f"Scores: {FALLBACK}, counted", [reason]
        first = (
            f"Scores: {self.name}, by the first {own.epochs} of {plan.finalist_epochs} epochs of {images:,} images, "
            f"with the compute of {own.trainings} of {own.reference} networks"
        )
        return first, []

    def count(self, plan: Plan) -> str | None:
        return None if plan.of(CalibratedPlan).trainings else FALLBACK

    def disk(self, plan: Plan, *, network: int) -> MethodDisk:
        # A checkpoint of each, of weights and two moments, remains for those that become finalists; of the one that
        # trains there are three.
        kept = 3 * network * plan.of(CalibratedPlan).trainings
        return MethodDisk(training=kept + 2 * 3 * network, kept=kept)

    # -- searching -----------------------------------------------------------------------------------------------

    def train(self, context: Context) -> Calibration | None:
        """Measures and trains what the run has not on record yet, and continues from the last checkpoint.

        A training that fails is recorded and passed over, as a finalist's is; the others go on.

        Returns:
            None where the plan trains nothing.

        Raises:
            TrainingError: If trainings failed and fewer than two are left.
        """
        plan, seed, own = context.plan, context.options.seed, context.plan.of(CalibratedPlan)
        if not own.trainings:
            return None
        # Those that will be finalists whatever their scores cost nothing, since they go on from here.
        fixed = list(context.portfolio.values())
        networks = list(dict.fromkeys([*fixed, *reference_networks(context.sampler, own.reference, seed=seed)]))
        self._measured = tuple(networks)
        proxies = Proxies(ProxyValues(context.data, seed=seed, device=plan.proxy_device))
        with threads_set(plan.job_threads):
            reference = _measure(context, networks, proxies)
        training = _RecordedTraining(context)
        if is_finished(context.run, FOLDER):
            # An earlier version may have chosen others; what was scored by these stays so.
            trained = training.longest(_places(context.run, networks, training.digests))
        else:
            rows = chosen_rows(reference, own.trainings, first=range(len(fixed)))
            trained = _until_settled(context, networks, rows, training)
        attempted = len(trained) + len(training.failed)
        if len(trained) < min(_FEWEST, attempted):
            # What a run is made with is settled: to continue it would fail again.
            raise TrainingError(
                f"A calibration needs {_FEWEST} trained networks, and {len(trained)} of {attempted} could be "
                "trained; events.jsonl has the reasons. Start a new run with --dtype float32 or another --batch-size."
            )
        found = Calibration(
            reference=reference,
            digests=tuple(each.digest for each in networks),
            trained=tuple(trained),
            images=len(context.data.search_validation),
        )
        _leave_out(context, found)
        return found

    def scorer(self, context: Context, trained: Calibration | None) -> ScorerSource:
        if trained is None:
            return CountedScoring(name=FALLBACK)
        device = context.plan.proxy_device
        return CalibratedScoring(calibration=trained, data=context.data, seed=context.options.seed, device=device)

    def first_proposals(self, run: RunRecord) -> tuple[Architecture, ...]:
        """The networks of the calibration, the best first, so that the best of them may become finalists; then all others
        that are measured, whose scores cost nothing.
        """
        found = sorted(longest_trainings(run), key=lambda event: -event.accuracy)
        return (*(Architecture.from_dict(event.architecture) for event in found), *self._measured)

    # -- nas rank ------------------------------------------------------------------------------------------------

    def ranked(self, task: RankingTask) -> RankedScorer:
        data, settings = task.data, task.settings  # read now, so that they are refused before anything is scored
        epochs, notes = self.options.calibration_epochs or 1, list[str]()

        def make() -> Scorer:
            proxies = Proxies(ProxyValues(data, seed=settings.seed, device=settings.device, memory=task.ledger))
            networks = task.architectures
            reference = FeatureGroups.of(networks, proxies, progress=task.progress)
            rows = chosen_rows(reference, self.options.calibrations or TRAININGS)
            images = len(data.search_validation)
            found = calibrate(networks, reference, LedgerTraining(task, epochs), rows, images=images)
            shown = ", ".join(f"{accuracy:.3f}" for _, accuracy in found.trained)
            count = len(found.trained)
            notes.append(f"{count} networks were trained for {epochs} epoch{'s' * (epochs != 1)}: {shown}")
            notes.append(left_out_line(count, leave_one_out(found).spearman))
            return CalibratedScorer(found, proxies)

        return RankedScorer(make=make, notes=notes)


class _RecordedTraining:
    """Trainings of a search's networks, up to some epoch: on record once they are there, and not done again.

    They are the first epochs of a finalist's training, in a finalist's folder, so that a finalist goes on from them.

    Attributes:
        failed: Digests of those that failed.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._known = {(event.digest, event.epochs): event.accuracy for event in context.run.events(CalibrationTrained)}
        self.failed = {event.digest for event in context.run.events(CalibrationFailed)}

    @property
    def digests(self) -> list[str]:
        return list(dict.fromkeys(digest for digest, _ in self._known))

    def longest(self, rows: Mapping[str, int]) -> list[tuple[int, float]]:
        """The rows of those that were trained longest, with their accuracies."""
        most = max(epochs for _, epochs in self._known)
        return [(rows[digest], accuracy) for (digest, epochs), accuracy in self._known.items() if epochs == most]

    def __call__(self, architecture: Architecture, phase: str, epochs: int) -> float | None:
        """The accuracy after so many epochs, or None where the training fails."""
        key = architecture.digest, epochs
        if key not in self._known and architecture.digest not in self.failed:
            accuracy = self._train(architecture, phase, epochs)
            if accuracy is None:
                self.failed.add(architecture.digest)
            else:
                self._known[key] = accuracy
        return None if architecture.digest in self.failed else self._known[key]

    def _train(self, architecture: Architecture, phase: str, epochs: int) -> float | None:
        context = self._context
        run, plan, options = context.run, context.plan, context.options
        digest = architecture.digest
        folder = run.path / FINALISTS / digest
        recipe = plan.recipe(epochs=plan.finalist_epochs, seed=options.seed, params=cost(architecture).params)
        earlier, began = _seconds_so_far(folder), time.monotonic()
        try:
            accuracy = train_shortly(
                architecture,
                context.data,
                recipe,
                progress=context.progress,
                phase=phase,
                folder=folder,
                metric=options.metric,
                until=epochs,
            )
        except TrainingError as fault:
            run.append(CalibrationFailed(digest=digest, error=str(fault), seconds=earlier + time.monotonic() - began))
            context.progress.note(f"The training for {phase} failed and is left out: {fault}")
            return None
        run.append(
            CalibrationTrained(
                digest=digest,
                accuracy=accuracy,
                epochs=epochs,
                learning_rate=recipe.learning_rate,
                seconds=earlier + time.monotonic() - began,
                architecture=architecture.to_dict(),
            )
        )
        return accuracy


def _until_settled(
    context: Context, networks: Sequence[Architecture], rows: Sequence[int], training: _RecordedTraining
) -> list[tuple[int, float]]:
    """Trains the networks of some rows for the planned epochs; or half of them twice as long, where their order moves.

    Whether it moves is seen on that half, by its order half-way.

    Returns:
        The rows of those that could be trained, with their accuracies.
    """
    plan, own = context.plan, context.plan.of(CalibratedPlan)
    first = rows[: max(FEWEST, -(-len(rows) // 2))]

    def train(some: Sequence[int], epochs: int, *, place: int = 0) -> list[tuple[int, float]]:
        found: list[tuple[int, float]] = []
        for number, row in enumerate(some, start=place + 1):
            phase = f"calibration {number} of {len(rows)}"
            accuracy = training(networks[row], phase, epochs)
            if accuracy is not None:
                found.append((row, accuracy))
                context.progress.note(f"Trained for {phase}: {accuracy:.4f} after {epochs} epoch{'s' * (epochs != 1)}")
        return found

    halfway = own.epochs // 2
    before = {} if not halfway else {row: training(networks[row], "calibration", halfway) for row in first}
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


def _leave_out(context: Context, found: Calibration) -> None:
    """Records and says once how well the trainings foretell each other."""
    if context.run.events(CalibrationLeftOut):
        return
    left_out, digests = leave_one_out(found), (found.digests[row] for row, _ in found.trained)
    predicted = dict(zip(digests, left_out.predicted, strict=False))  # none below four
    context.run.append(CalibrationLeftOut(predicted=predicted, spearman=left_out.spearman))
    context.progress.note(left_out_line(len(found.trained), left_out.spearman))


def _numbers(run: Run, plain: list[float | str]) -> list[float]:
    try:
        found = [float(value) for value in plain]
    except ValueError:
        found = []
    if len(found) != len(PROXIES.names()):
        raise RunError(f"{run.path}: a network was measured in a way that this version does not know. Start a new run.")
    return found


def _places(run: Run, networks: list[Architecture], digests: list[str]) -> dict[str, int]:
    places = {network.digest: row for row, network in enumerate(networks)}
    if any(digest not in places for digest in digests):
        raise RunError(f"{run.path}: networks were trained that this version does not sample. Start a new run.")
    return places


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
