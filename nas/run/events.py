"""The events of a run: one struct per kind, whose field types say what is refused when a record is read.

Every event is one line of `events.jsonl`; its tag there is the line's "event". A field that has a default may be
missing from a line. Events of a search method from outside this package are `MethodEvent`s.
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
    """The time in UTC, to the millisecond, as events have it."""
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
    """First event of every run: its manifest, recorded by `Run.create`. Fields that are not listed here pass too.

    Attributes:
        format: Of the record.
        options, plan: What was asked for, and what that came to on the machine and data.
        space, space_digest, space_source: The search space, its digest, and the name or file it was loaded from.
        presets: The architectures that the space names.
        cautions: Sentences on what the run cannot tell.
        portfolio: Architectures that are finalists whatever their scores, by what chose them.
        method: What the search method keeps of itself, `SearchMethod.facts`.
        disk_bytes: The most that each phase writes.
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
        seconds: What the session before is known to have worked.
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
        epoch, step, images, seconds: How far the training is, from 1.
        accuracies: On search-validation, of the same few networks each time; empty where nothing is measured.
        block: Of a training one block after the other: which, from 1.
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
        step: Training steps that they have seen.
        sha256: Of the file of weights.
    """

    run: str
    step: Count
    sha256: str


class ProxiesMeasured(Event, frozen=True, kw_only=True, tag="measured"):
    """Zero-cost proxies of one reference network; recorded by the calibrated method.

    Attributes:
        proxies: In the order of the proxies' names; one that is not finite is a text such as "inf".
    """

    digest: str
    proxies: list[Number | str]


class CalibrationTrained(Event, frozen=True, kw_only=True, tag="calibrated"):
    """One network was trained up to an epoch; recorded by the calibrated method, which fits its scores to the longest.

    Attributes:
        epochs: From the first; they are the first of a finalist's training.
        seconds: Of that training so far.
        learning_rate: At its peak; None where an earlier version trained it.
    """

    digest: str
    accuracy: Number
    architecture: Plain
    epochs: Count = 0
    learning_rate: Number | None = None
    seconds: Number = 0.0


class CalibrationOrder(Event, frozen=True, kw_only=True, tag="calibration_order"):
    """How far the order of networks had settled; recorded by the calibrated method after half of its trainings.

    Attributes:
        networks, epochs: Of those trainings.
        spearman: Of their accuracies half-way and at the end.
        settled: False where they train twice as long because of it.
    """

    networks: Count
    epochs: Count
    spearman: Number
    settled: bool


class CalibrationFailed(Event, frozen=True, kw_only=True, tag="calibration_failed"):
    """A brief training failed and is left out; recorded by the calibrated method."""

    digest: str
    error: str = "its training failed"
    seconds: Number = 0.0


class CalibrationLeftOut(Event, frozen=True, kw_only=True, tag="calibration_left_out"):
    """Every brief training as it is predicted by all others; recorded by the calibrated method once they are done.

    Attributes:
        predicted: Accuracies by digest.
        spearman: Their rank correlation with those reached; None below four trainings, or where one side is constant.
    """

    predicted: Plain = {}
    spearman: Number | None = None


class CellScored(Event, frozen=True, kw_only=True, tag="cell"):
    """All paths of one cell were scored; recorded by the block-wise method.

    Attributes:
        block: From 1.
        distances: Per path; lower is better.
    """

    name: str
    distances: list[Number]
    block: Count = 0
    seconds: Number = 0.0


class MethodEvent(Event, frozen=True, kw_only=True, tag="method_event"):
    """Whatever a search method from outside this package records.

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
        seconds: Of the training so far.
    """

    digest: str
    epoch: Count
    epochs: Count | None = None
    loss: Number | None = None
    validation_accuracy: Number | None = None
    seconds: Number = 0.0


class FinalistTrained(Event, frozen=True, kw_only=True, tag="finalist"):
    """A finalist was trained to its end and tested, once; recorded by the finalists' phase.

    Attributes:
        digest, number: Of its trial, whose `score`, `macs` and `params` it repeats.
        resolution: What it was trained at.
        chosen_by: What made it a finalist: "score", the name of a count, or "random".
        learning_rate: At its peak; None where an earlier version trained it.
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
    """The training of a finalist lost its process and goes on from a checkpoint; recorded by the finalists' phase."""

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
        n: Finalists.
        score, params, macs: Correlations of each with the accuracies; None where there are too few.
    """

    n: Count
    verdict: str = ""
    score: Plain | None = None
    params: Plain | None = None
    macs: Plain | None = None

    def statistics(self) -> dict[str, Any]:
        """The same as `rank_statistics` gave it."""
        return {name: getattr(self, name) for name in ("n", "verdict", "score", "params", "macs")}


class WinnerExported(Event, frozen=True, kw_only=True, tag="winner"):
    """A winner's folder is complete; recorded by the export phase.

    Attributes:
        rank: By accuracy on search-validation, from 1.
        path: Relative to the run.
        checks: How far the exported formats agree.
        on_front: Whether no other finalist is as accurate and costs no more.
        validation_error: Standard error of `validation_accuracy`, by the number of its images.
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


# -- reading --------------------------------------------------------------------------------------------------


class UnknownEvent(Event, frozen=True, kw_only=True, tag=""):
    """An event of a kind that this version does not know; it is only read, never appended.

    Attributes:
        tag: Its kind.
        fields: All else that its line holds.
    """

    tag: str
    fields: Plain


def tag_of(kind: type[Event]) -> str:
    """What lines of a kind have as their "event"."""
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
    )
}
"""All kinds of events by their tags."""
