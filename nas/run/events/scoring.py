"""Events of the search, and of the search methods."""

from __future__ import annotations

from nas.run.events.base import Count, Event, Number, Plain


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


class CalibrationRetried(Event, frozen=True, kw_only=True, tag="calibration_retried"):
    """A short training lost its process and went on from a checkpoint; recorded by the calibrated method at its end.

    Attributes:
        reasons: Why each earlier try came to nothing.
    """

    digest: str
    epochs: Count
    reasons: list[str]


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
