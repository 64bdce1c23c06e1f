"""The events of a run: one struct per kind; reading a record checks each line against its field types.

Every event is one line of `events.jsonl`, and its tag is the line's "event". A field with a default may be missing
from a line. Search methods from outside this package record `MethodEvent`s.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct, field

from nas.run.upgrade import FORMAT

Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Number: TypeAlias = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
Time: TypeAlias = Annotated[datetime, Meta(tz=True)]
Plain: TypeAlias = dict[str, Any]


def now() -> datetime:
    """Returns the time in UTC, to the millisecond, as events store it."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


class Event(Struct, frozen=True, kw_only=True, tag_field="event"):
    """Something that happened in a run.

    Attributes:
        time: When it was recorded; `Run.append` sets it.
    """

    time: Time = field(default_factory=now)


# -- the run and its phases -----------------------------------------------------------------------------------


class RunStarted(Event, frozen=True, kw_only=True, tag="run_started"):
    """First event of every run: its manifest, recorded by `Run.create`. Undeclared fields are accepted.

    Attributes:
        format: Format version of the record.
        options, plan: The options given, and the plan made from them for this machine and data.
        space, space_digest, space_source: The search space, its digest, and the name or file it was loaded from.
        presets: The named architectures of the space.
        cautions: Sentences on the limits of the run's results.
        portfolio: Architectures that are finalists whatever their scores, by what chose them.
        method: The search method's own part of the manifest, `SearchMethod.facts`.
        disk_bytes: Upper bound of what each phase writes.
        workers: Where jobs run.
    """

    format: Count = FORMAT
    options: Plain = {}
    plan: Plain = {}
    versions: Plain = {}
    seed: Count | None = None
    budgets: list[str] = []
    space: Plain = {}
    space_digest: str | None = None
    space_source: str | None = None
    presets: list[Plain] = []
    cautions: list[str] = []
    portfolio: Plain = {}
    data: Plain = {}
    method: Plain = {}
    disk_bytes: Plain = {}
    workers: Plain = {}


class RunResumed(Event, frozen=True, kw_only=True, tag="resumed"):
    """The run goes on after a stop; recorded by `record_resumed`.

    Attributes:
        seconds: Known duration of the previous session.
        phase: The phase that was stopped, None between phases; `phase_seconds` is the time spent on it.
    """

    seconds: Number
    phase: str | None
    phase_seconds: Number


class PhaseStarted(Event, frozen=True, kw_only=True, tag="phase_started"):
    """A phase begins, or begins again after a stop; recorded by `do_phase`."""

    phase: str


class PhaseFinished(Event, frozen=True, kw_only=True, tag="phase_finished"):
    """A phase is done; recorded by `do_phase` with the seconds of all sessions."""

    phase: str
    seconds: Number = 0.0


class PhaseInterrupted(Event, frozen=True, kw_only=True, tag="interrupted"):
    """A signal ended the work in a phase; recorded by `do_phase`."""

    phase: str


class RunFinished(Event, frozen=True, kw_only=True, tag="run_finished"):
    """All phases are done; recorded by the pipeline with the seconds of all sessions."""

    seconds: Number = 0.0


# -- the search -----------------------------------------------------------------------------------------------


class TrialScored(Event, frozen=True, kw_only=True, tag="trial"):
    """A proposed architecture was scored, or its scoring failed; recorded by the search, in the order of proposals.

    Attributes:
        trial: `Trial.to_dict()`; `RunRecord.trials` reads it.
    """

    trial: Plain


class ScoringRetried(Event, frozen=True, kw_only=True, tag="retried"):
    """The scoring of a trial took more than one try; recorded by the search, before the trial."""

    number: Count
    reasons: list[str]


# -- search methods -------------------------------------------------------------------------------------------


class SupernetEpoch(Event, frozen=True, kw_only=True, tag="curve"):
    """A point of the supernet's training curve; recorded by the methods that train shared weights.

    Attributes:
        epoch, step, images, seconds: Progress of the training; epochs count from 1.
        accuracies: On search-validation, of the same few networks each time; empty where nothing is measured.
        block: The block being trained, from 1; None where all weights are trained together.
    """

    epoch: Count
    step: Count = 0
    images: Count = 0
    seconds: Number = 0.0
    loss: Number | None = None
    accuracies: dict[str, Number] = {}
    block: Count | None = None


class SupernetAccuracy(Event, frozen=True, kw_only=True, tag="watched"):
    """Accuracy of one network with the shared weights after an epoch; recorded before the epoch's `SupernetEpoch`."""

    epoch: Count
    name: str
    accuracy: Number


class UpdateCounts(Event, frozen=True, kw_only=True, tag="updates"):
    """How often each part of the shared weights was trained; recorded once, at the end of their training."""

    counts: dict[str, Count]


class SupernetReused(Event, frozen=True, kw_only=True, tag="supernet_reused"):
    """The shared weights were taken from another run; recorded once they are in this one.

    Attributes:
        run: The source run's folder.
        step: Number of steps they were trained for.
        sha256: Digest of the weights file.
    """

    run: str
    step: Count
    sha256: str


class ProxiesMeasured(Event, frozen=True, kw_only=True, tag="measured"):
    """Zero-cost proxies of one reference network; recorded by the calibrated method.

    Attributes:
        proxies: In the order of the proxies' names; a value that is not finite is a string such as "inf".
    """

    digest: str
    proxies: list[Number | str]


class CalibrationTrained(Event, frozen=True, kw_only=True, tag="calibrated"):
    """A network was trained up to an epoch; recorded by the calibrated method, which fits scores to the last of these.

    Attributes:
        epochs: Number of epochs so far; they are the first epochs of a finalist's training.
        seconds: Training time so far.
        learning_rate: Peak learning rate; None where an earlier version trained it.
    """

    digest: str
    accuracy: Number
    architecture: Plain
    epochs: Count = 0
    learning_rate: Number | None = None
    seconds: Number = 0.0


class CalibrationOrder(Event, frozen=True, kw_only=True, tag="calibration_order"):
    """How stable the ranking of networks is; recorded by the calibrated method after half of its trainings.

    Attributes:
        networks, epochs: Number of trainings, and epochs of each.
        spearman: Rank correlation of their accuracies half-way and at the end.
        settled: False if the networks are trained twice as long because the ranking still changes.
    """

    networks: Count
    epochs: Count
    spearman: Number
    settled: bool


class CalibrationFailed(Event, frozen=True, kw_only=True, tag="calibration_failed"):
    """A short training failed and is left out; recorded by the calibrated method."""

    digest: str
    error: str = "its training failed"
    seconds: Number = 0.0


class CalibrationLeftOut(Event, frozen=True, kw_only=True, tag="calibration_left_out"):
    """Leave-one-out predictions of the short trainings; recorded by the calibrated method once they are done.

    Attributes:
        predicted: Predicted accuracies by digest.
        spearman: Rank correlation with the accuracies reached; None below four trainings or if one side is constant.
    """

    predicted: Plain = {}
    spearman: Number | None = None


class CellScored(Event, frozen=True, kw_only=True, tag="cell"):
    """All paths of one cell were scored; recorded by the block-wise method.

    Attributes:
        block: The block's number, from 1.
        distances: Loss per path; lower is better.
    """

    name: str
    distances: list[Number]
    block: Count = 0
    seconds: Number = 0.0


class MethodEvent(Event, frozen=True, kw_only=True, tag="method_event"):
    """An event of a search method from outside this package.

    Attributes:
        method: The method's name.
        name: What happened.
        data: Plain JSON.
    """

    method: str
    name: str
    data: Plain = {}


# -- finalists and winners ------------------------------------------------------------------------------------


class FinalistEpoch(Event, frozen=True, kw_only=True, tag="finalist_epoch"):
    """A finalist was trained for one more epoch; recorded by the finalists' phase.

    Attributes:
        validation_accuracy: None after epochs that are not evaluated.
        seconds: Training time so far.
    """

    digest: str
    epoch: Count
    epochs: Count | None = None
    loss: Number | None = None
    validation_accuracy: Number | None = None
    seconds: Number = 0.0


class FinalistTrained(Event, frozen=True, kw_only=True, tag="finalist"):
    """A finalist was fully trained and tested once; recorded by the finalists' phase.

    Attributes:
        digest, number: Those of its trial; `score`, `macs` and `params` are the trial's as well.
        resolution: Training resolution.
        chosen_by: What made it a finalist: "score", the name of a count, or "random".
        learning_rate: Peak learning rate; None where an earlier version trained it.
    """

    digest: str
    number: Count
    validation_accuracy: Number
    test_accuracy: Number
    score: Number | None = None
    macs: Count | None = None
    params: Count | None = None
    epochs: Count | None = None
    learning_rate: Number | None = None
    seconds: Number | None = None
    resolution: Count | None = None
    architecture: Plain = {}
    chosen_by: str = "score"


class FinalistFailed(Event, frozen=True, kw_only=True, tag="finalist_failed"):
    """The training of a finalist failed and is not tried again; recorded by the finalists' phase."""

    digest: str
    number: Count | None = None
    error: str | None = None


class FinalistStopped(Event, frozen=True, kw_only=True, tag="finalist_stopped"):
    """The training of a finalist fell behind the others and was stopped; recorded by the finalists' phase."""

    digest: str
    epoch: Count
    validation_accuracy: Number
    number: Count | None = None


class FinalistRetried(Event, frozen=True, kw_only=True, tag="finalist_retried"):
    """A finalist's training lost its process and resumes from a checkpoint; recorded by the finalists' phase."""

    digest: str
    number: Count | None = None
    reason: str = ""


class FinalistMeasured(Event, frozen=True, kw_only=True, tag="finalist_measured"):
    """The latency of a network that is to be a finalist, measured before it trains; recorded by the finalists' phase.

    Attributes:
        setting: What the latency holds for.
        latency_s, latency_iqr_s: Median and interquartile range of `blocks` interleaved blocks.
        predicted_s: What the device model had predicted.
        bound_s: Of the budget; a network above it is no finalist.
    """

    digest: str
    number: Count
    setting: str
    latency_s: Number
    latency_iqr_s: Number
    blocks: Count
    predicted_s: Number | None = None
    bound_s: Number

    @property
    def within(self) -> bool:
        return self.latency_s <= self.bound_s


class RankingEvaluated(Event, frozen=True, kw_only=True, tag="ranking"):
    """How well the scores, and params and MACs alone, predicted the finalists' test accuracies; recorded once.

    Attributes:
        n: Number of finalists.
        score, params, macs: Rank statistics of each against the accuracies; None where there are too few finalists.
    """

    n: Count
    verdict: str = ""
    score: Plain | None = None
    params: Plain | None = None
    macs: Plain | None = None

    def statistics(self) -> dict[str, Any]:
        """Returns the statistics as `rank_statistics` returned them."""
        return {name: getattr(self, name) for name in ("n", "verdict", "score", "params", "macs")}


class WinnerExported(Event, frozen=True, kw_only=True, tag="winner"):
    """A winner's folder is complete; recorded by the export phase.

    Attributes:
        rank: By accuracy on search-validation, from 1.
        path: Relative to the run.
        checks: How closely the outputs of the exported formats agree.
        on_front: Whether it is on the Pareto front of validation accuracy and cost.
        validation_error: Standard error of `validation_accuracy`, from the number of its images.
        chosen_by: What made it a finalist.
        latency_s, setting: As it was measured, where a budget bounds a latency.
        peak_memory_bytes: Of one inference, where a budget bounds it.
    """

    rank: Count
    digest: str
    path: str
    macs: Count
    params: Count
    score: Number | None
    test_accuracy: Number
    checks: Plain = {}
    on_front: bool = True
    validation_accuracy: Number | None = None
    validation_error: Number | None = None
    chosen_by: str = "score"
    latency_s: Number | None = None
    setting: str = ""
    peak_memory_bytes: Count | None = None


# -- a search from a parent -----------------------------------------------------------------------------------


class ParentEpoch(Event, frozen=True, kw_only=True, tag="parent_epoch"):
    """An epoch of the parent's fine-tuning; `seconds` is that of the training so far."""

    epoch: Count
    epochs: Count
    loss: Number
    seconds: Number


class ParentTuned(Event, frozen=True, kw_only=True, tag="parent"):
    """The parent is fine-tuned, and is the teacher from now on.

    Attributes:
        config: What `--parent` named.
        epochs: Of its fine-tuning; 0 where it was trained on the data before.
    """

    config: str
    epochs: Count
    validation_accuracy: Number
    test_accuracy: Number
    macs: Count
    params: Count


class ParentInherited(Event, frozen=True, kw_only=True, tag="parent_inherited"):
    """The supernet has the parent's weights.

    Attributes:
        importance: What put the parent's units in order.
        kept_layers: Per stage of the space, from 0, its layers' places from the one that is kept longest on.
        inherited, fresh: Number of the supernet's tensors with weights of the parent, and of those without.
    """

    importance: str
    kept_layers: dict[str, list[int]]
    inherited: Count
    fresh: Count


# -- reading --------------------------------------------------------------------------------------------------


class UnknownEvent(Event, frozen=True, kw_only=True, tag=""):
    """An event of a kind unknown to this version; it is only read, never appended.

    Attributes:
        tag: Its kind.
        fields: All other fields of its line.
    """

    tag: str
    fields: Plain


def tag_of(kind: type[Event]) -> str:
    """Returns the "event" value of a kind's lines."""
    return str(kind.__struct_config__.tag)


KINDS: dict[str, type[Event]] = {
    tag_of(kind): kind
    for kind in (
        *(RunStarted, RunResumed, PhaseStarted, PhaseFinished, PhaseInterrupted, RunFinished),
        *(TrialScored, ScoringRetried),
        *(SupernetEpoch, SupernetAccuracy, UpdateCounts, SupernetReused),
        *(ProxiesMeasured, CalibrationTrained, CalibrationOrder, CalibrationFailed, CalibrationLeftOut),
        *(CellScored, MethodEvent),
        *(FinalistMeasured, FinalistEpoch, FinalistTrained, FinalistFailed, FinalistStopped, FinalistRetried),
        *(RankingEvaluated, WinnerExported),
        *(ParentEpoch, ParentTuned, ParentInherited),
    )
}
"""All kinds of events by their tags."""
