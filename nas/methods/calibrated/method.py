"""The method `calibrated`: measures reference networks, trains a few of them briefly, and fits a score to both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing

from nas.architecture import Architecture
from nas.errors import RunError, TrainingError
from nas.jobs.backend import ScorerSource
from nas.jobs.executor import Scorer
from nas.jobs.training import TrainingWork
from nas.methods.calibrated.calibration import (
    Calibration,
    calibrate,
    chosen_rows,
    leave_one_out,
)
from nas.methods.calibrated.features import FeatureGroups, Proxies
from nas.methods.calibrated.options import CalibratedOptions
from nas.methods.calibrated.planning import (
    FALLBACK,
    FEWEST,
    FEWEST_FITTED,
    LEAST_EPOCHS,
    TRAININGS,
    WORTH_IT,
    CalibratedPlan,
    plan_calibration,
)
from nas.methods.calibrated.report import left_out_line, longest_trainings
from nas.methods.calibrated.scorer import CalibratedScorer, CalibratedScoring
from nas.methods.calibrated.trainings import LedgerTraining, RecordedTraining, until_settled
from nas.methods.counted import CountedScoring
from nas.methods.protocol.context import Context
from nas.methods.protocol.phases import is_finished
from nas.methods.protocol.plan import TRAINING_SHARE, Plan, Planned, Workload
from nas.methods.protocol.ranking import RankingTask
from nas.methods.protocol.search_method import MethodDisk, RankedScorer, SearchMethod
from nas.methods.reference import reference_networks
from nas.methods.zero_cost.measuring import measured
from nas.methods.zero_cost.proxies import PROXIES
from nas.methods.zero_cost.proxy_cache import ProxyValues
from nas.options import SearchOptions
from nas.run import Run, RunRecord
from nas.run.events import (
    CalibrationLeftOut,
    ProxiesMeasured,
)
from nas.training.evaluation import images_counted

FOLDER = "calibration"


class CalibratedMethod(SearchMethod[CalibratedOptions]):
    """Scores by the accuracy that a Gaussian process predicts, fitted to short trainings of a few networks.

    Rationale and limits: docs/decisions/0008-calibrated-score.md.
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
            return f"Scores: {FALLBACK}, counted", [_why_counted(options.finalist_epochs)]
        first = (
            f"Scores: {self.name}, by the first {own.epochs} of {plan.finalist_epochs} epochs of {images:,} images, "
            f"with the compute of {own.trainings} of {own.reference} networks"
        )
        return first, []

    def count(self, plan: Plan) -> str | None:
        return None if plan.of(CalibratedPlan).trainings else FALLBACK

    def disk(self, plan: Plan, *, network: int) -> MethodDisk:
        # Each network keeps one checkpoint (weights and two moments), for those that become finalists; a network in
        # training has three.
        trainings, further = plan.of(CalibratedPlan).trainings, 2 * 3 * network
        kept = 3 * network * trainings
        return MethodDisk(training=kept + further, kept=kept, each=further, trainings=trainings)

    # -- searching -----------------------------------------------------------------------------------------------

    def train(self, context: Context) -> Calibration | None:
        """Measures and trains what is not on record yet, resuming from the last checkpoint.

        A training that fails is recorded and skipped, as for finalists.

        Returns:
            None if the plan trains nothing.

        Raises:
            TrainingError: If trainings failed and fewer than two are left.
        """
        plan, seed, own = context.plan, context.options.seed, context.plan.of(CalibratedPlan)
        if not own.trainings:
            return None
        # Networks that will be finalists in any case cost nothing, since their training continues from here.
        fixed = list(context.portfolio.values())
        networks = list(dict.fromkeys([*fixed, *reference_networks(context.sampler, own.reference, seed=seed)]))
        self._measured = tuple(networks)
        reference = _measure(context, networks)
        work = TrainingWork(data=context.data, folder=context.finalists_folder, threads=plan.threads)
        with closing(context.backend.training(work, context.progress)) as executor:
            training = RecordedTraining(context, executor)
            if is_finished(context.run, FOLDER):
                # An earlier version may have chosen others; scores based on them stay valid.
                trained = training.longest(_places(context.run, networks, training.digests))
            else:
                rows = chosen_rows(reference, own.trainings, first=range(len(fixed)))
                trained = until_settled(context, networks, rows, training)
        attempted = len(trained) + len(training.failed)
        if len(trained) < min(FEWEST_FITTED, attempted):
            # A run's options are fixed, so resuming it would fail again.
            raise TrainingError(
                f"A calibration needs {FEWEST_FITTED} trained networks, and {len(trained)} of {attempted} could be "
                "trained; events.jsonl has the reasons. Start a new run with --dtype float32 or another --batch-size."
            )
        found = Calibration(
            reference=reference,
            digests=tuple(each.digest for each in networks),
            trained=tuple(trained),
            images=images_counted(context.data.search_validation, context.options.metric),
        )
        _leave_out(context, found)
        return found

    def scorer(self, context: Context, trained: Calibration | None) -> ScorerSource:
        if trained is None:
            return CountedScoring(name=FALLBACK)
        device = context.plan.proxy_device
        return CalibratedScoring(calibration=trained, data=context.data, seed=context.options.seed, device=device)

    def first_proposals(self, run: RunRecord) -> tuple[Architecture, ...]:
        """Returns the networks of the calibration, best first, so that the best of them may become finalists.

        All other measured networks follow, since their scores cost nothing.
        """
        found = sorted(longest_trainings(run), key=lambda event: -event.accuracy)
        return (*(Architecture.from_dict(event.architecture) for event in found), *self._measured)

    # -- nas rank ------------------------------------------------------------------------------------------------

    def ranked(self, task: RankingTask) -> RankedScorer:
        data, settings = task.data, task.settings  # loaded now, so that errors occur before anything is scored
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


def _why_counted(given: int | None) -> str:
    """Returns why a search without trainings has none.

    Args:
        given: Epochs of finalists that were asked for; None if they were planned.
    """
    if given is not None and given < LEAST_EPOCHS:
        return (
            f"Scores are parameter counts: --finalist-epochs {given} is below the {LEAST_EPOCHS} that calibrations "
            "need. Give as many, or --calibrations."
        )
    return (
        f"Scores are parameter counts: there is no time to train {FEWEST} networks for a sixth of the finalists' "
        f"epochs and finalists for {given or WORTH_IT} epochs, and shorter trainings of finalists lose more than such "
        "scores gain. Use a longer --time or --calibrations."
    )


def _measure(context: Context, networks: Sequence[Architecture]) -> FeatureGroups:
    """Measures the networks; records the proxies of each as soon as they are computed."""
    run, progress = context.run, context.progress
    known = {event.digest: _numbers(run, event.proxies) for event in run.events(ProxiesMeasured)}
    todo = [network for network in networks if network.digest not in known]
    progress.start("proxies", len(networks), "networks")
    progress.advance(len(networks) - len(todo), restored=True)
    for network, values in zip(todo, measured(context, todo, PROXIES.names()), strict=True):
        known[network.digest] = values
        # JSON has no infinities.
        plain = [value if math.isfinite(value) else str(value) for value in values]
        run.append(ProxiesMeasured(digest=network.digest, proxies=plain))
        progress.advance()
    progress.finish()
    return FeatureGroups.measured(networks, [known[network.digest] for network in networks])


def _leave_out(context: Context, found: Calibration) -> None:
    """Records and reports, once, how well the trainings predict each other."""
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
        raise RunError(f"{run.path} has other proxies on record than this version computes. Start a new run.")
    return found


def _places(run: Run, networks: list[Architecture], digests: list[str]) -> dict[str, int]:
    places = {network.digest: row for row, network in enumerate(networks)}
    if any(digest not in places for digest in digests):
        raise RunError(f"{run.path} has trainings of networks that this version does not sample. Start a new run.")
    return places
