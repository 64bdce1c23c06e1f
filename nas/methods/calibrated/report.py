"""The calibration in a run's report: accuracies of the short trainings, and the predictions for the same networks."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping

from nas.formats import count, percent
from nas.methods.protocol.report import MethodReport, MethodSection, ScoreMeaning, Steps, Table, accuracy_name, planned
from nas.run import RunRecord
from nas.run.events import CalibrationFailed, CalibrationLeftOut, CalibrationTrained
from nas.trial import Trial


def section(record: RunRecord) -> MethodSection | None:
    """Returns the short trainings, most accurate first, and those that failed; None if counting is the score."""
    if _counts(record):
        return None
    reached = {digest for digest, _ in _trainings(record)}
    trials, macs = dict[str, Trial](), array("q")
    for trial in record.each_trial():
        macs.append(trial.cost.macs)
        if (digest := trial.architecture.digest) in reached:
            trials[digest] = trial
    rows: list[tuple[str | int, ...]] = []
    for digest, accuracy in sorted(_trainings(record), key=lambda training: -training[1]):
        trial = trials.get(digest)
        expected = "not scored" if trial is None else percent(trial.score)
        rows.append((digest, "" if trial is None else trial.layout, percent(accuracy), expected))
    words = (
        "A Gaussian process on costs, structure and zero-cost proxies was fitted to these trainings; "
        "the last column has its predictions for the same networks."
    )
    left_out = record.last(CalibrationLeftOut)
    checked = f" {left_out_line(len(rows), left_out.spearman)}." if left_out else ""
    failed = (f" {event.digest} is left out: {event.error}" for event in record.events(CalibrationFailed))
    return MethodSection(
        title="Calibration of the scores",
        paragraphs=(words + checked + _extrapolated(trials, macs) + "".join(failed),),
        table=Table(headers=("Network", "Layout", "Reached", "Expected"), rows=rows, numeric=(2, 3)),
        progress=f"{count(len(rows), 'network')} trained",
    )


def score_meaning(record: RunRecord) -> ScoreMeaning:
    """Returns what a calibrated score predicts, and from how many trainings; or that the score is a count."""
    if _counts(record):
        return ScoreMeaning(caption="A score is the number of parameters.", axis_label="parameters")
    trainings = longest_trainings(record)
    trained, epochs = count(len(trainings), "network"), trainings[0].epochs if trainings else 0
    length = f" after {count(epochs, 'epoch')}" if epochs else " after a short training"
    return ScoreMeaning(
        caption="A score is the accuracy that a short training is expected to reach, by what such trainings of "
        f"{trained} reached.",
        is_accuracy=True,
        axis_label=f"predicted {accuracy_name(record)}{length}",
    )


def longest_trainings(record: RunRecord) -> list[CalibrationTrained]:
    """Returns the recorded trainings with the most epochs, to which scores are fitted."""
    events = record.events(CalibrationTrained)
    most = max((event.epochs for event in events), default=0)
    return [event for event in events if event.epochs == most]


def left_out_line(trained: int, spearman: float | None) -> str:
    """Returns a sentence, without a full stop, on how well the trainings predict each other."""
    found = "not known" if spearman is None else f"{spearman:+.2f}"
    why = " (too few trainings, or all alike)" if spearman is None else ""
    return f"Leave-one-out rank correlation over {count(trained, 'short training')}: {found}{why}"


def _extrapolated(trained: Mapping[str, Trial], macs: Iterable[int]) -> str:
    """Returns a sentence, after a space, on networks that cost more than any that was trained; "" if there are none."""
    most = max((trial.cost.macs for trial in trained.values()), default=None)
    beyond = 0 if most is None else sum(cost > most for cost in macs)
    if not beyond:
        return ""
    return f" {count(beyond, 'scored network')} cost more than any of these: their scores are extrapolations."


def _counts(record: RunRecord) -> bool:
    """Returns whether the plan trains nothing, so that the score is the number of parameters."""
    return planned(record).get("trainings") == 0


def _trainings(record: RunRecord) -> list[tuple[str, float]]:
    """Returns digest and accuracy of each short training."""
    return [(event.digest, event.accuracy) for event in longest_trainings(record)]


def steps(record: RunRecord, phase: str) -> Steps:
    """Returns how many networks were trained; how many the planned compute suffices for depends on their sizes."""
    return Steps(done=len({event.digest for event in record.events(CalibrationTrained)}), total=None, unit="networks")


REPORT = MethodReport(section=section, score_meaning=score_meaning, phases=lambda record: ("calibration",), steps=steps)
