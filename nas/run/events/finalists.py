"""Events of finalists and winners."""

from __future__ import annotations

from typing import Any

from nas.run.events.base import Count, Event, Number, Plain, WinnerPath


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
        chosen_by: What made it a finalist: "score", the name of a count, "random", several of these
            ("score+params"), or the name of a rival.
        learning_rate: Peak learning rate; None where an earlier version trained it.
        weights_sha256: `nas.training.weights_digest` of its weights; "" where an earlier version trained it.
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
    weights_sha256: str = ""


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
        sha256: Of each of its files but the card, by name; empty where an earlier version exported it.
    """

    rank: Count
    digest: str
    path: WinnerPath
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
    sha256: dict[str, str] = {}
