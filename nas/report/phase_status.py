"""How far the phase in progress of a run is, and how long it takes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from nas.methods.protocol.report import Steps, method_report, whole
from nas.report.summary import Summary
from nas.run import RunRecord
from nas.run.events import FinalistEpoch, FinalistFailed, FinalistStopped, FinalistTrained, PhaseStarted, RunResumed
from nas.run.sessions import earlier_seconds

_ENDED = (FinalistTrained, FinalistStopped, FinalistFailed)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStatus:
    """A phase in progress.

    Attributes:
        number, of: Its place among the run's phases, from 1; None for a phase that is not among them.
        steps: How far it is; None where that is not on record.
        seconds: Time spent on it, over all sessions.
        rate: Steps per second; None before the first.
        planned: Seconds that the plan says; None where it does not.
        seconds_left: By that rate, or by the plan before the first step; None where it takes longer than planned.
    """

    name: str
    number: int | None
    of: int
    steps: Steps | None
    seconds: float
    rate: float | None
    planned: float | None
    seconds_left: float | None


def phase_status(summary: Summary, until: datetime) -> PhaseStatus | None:
    """Returns the phase in progress at a time; None between phases."""
    name = summary.phase
    if name is None:
        return None
    record, names = summary.record, summary.phase_names
    session = next(e for e in reversed(record.events(PhaseStarted)) if e.phase == name)
    seconds, since = earlier_seconds(record, name), 0.0
    if not _resumed_since(record, session):
        seconds += max(0.0, (until - session.time).total_seconds())
        since = max(0.0, (until - max(record.events()[-1].time, session.time)).total_seconds())
    steps = _steps(summary, name)
    rate = None if steps is None else _rate(steps, seconds, since)
    planned = planned_seconds(summary).get(name)
    left = None
    if rate is not None and steps is not None and steps.total is not None:
        begun = min(rate * since, steps.every)  # of those that are not on record yet
        left = max(0.0, steps.total - steps.done - begun) / rate
    elif planned is not None and planned > seconds:
        left = planned - seconds
    return PhaseStatus(
        name=name,
        number=names.index(name) + 1 if name in names else None,
        of=len(names),
        steps=steps,
        seconds=seconds,
        rate=rate,
        planned=planned,
        seconds_left=left,
    )


def _rate(steps: Steps, seconds: float, since: float) -> float | None:
    """Returns steps a second by the time that those done took, so that minutes into an epoch it is not too slow.

    Args:
        seconds: Of the phase so far.
        since: Seconds since the last was recorded; where the next takes longer than the others did, they count too.
    """
    took = seconds - since
    if not steps.done or took <= 0:
        return None
    return min(steps.done / took, (steps.done + steps.every) / seconds)


def _resumed_since(record: RunRecord, session: PhaseStarted) -> bool:
    """Returns whether the phase's time is all in `earlier_seconds`: the run was resumed, and has not come to it yet."""
    resumed = record.last(RunResumed)
    return resumed is not None and resumed.time > session.time


def _steps(summary: Summary, name: str) -> Steps | None:
    """Returns how far a phase is."""
    record = summary.record
    if name in summary.method_phases:
        return method_report(record).steps(record, name)
    if name == "search":
        return Steps(done=summary.tally.total, total=whole(summary.setting("trials")), unit="networks")
    if name == "finalists":
        return _epochs_of_finalists(summary)
    trained = {event.digest for event in record.events(FinalistTrained)}
    return Steps(done=len(summary.winners), total=len(trained), unit="networks") if name == "export" else None


def _epochs_of_finalists(summary: Summary) -> Steps:
    """Returns the epochs of all finalists, without those that a calibration has trained or that will not be trained."""
    record, epochs = summary.record, whole(summary.setting("finalist_epochs"))
    first: dict[str, int] = {}
    last: dict[str, FinalistEpoch] = {}
    for event in record.events(FinalistEpoch):
        first.setdefault(event.digest, event.epoch - 1)
        last[event.digest] = event
    known = [each for each in summary.candidates if each.digest in first]
    done = sum(each.epochs_done - first[each.digest] for each in known)
    if summary.finalists is None or epochs is None:
        return Steps(done=done, total=None, unit="epochs")
    longer = (whole(summary.setting("rival_epochs")) or epochs) - epochs
    total = summary.finalists * epochs + summary.rivals * longer - sum(first.values())
    for digest in {each.digest for kind in _ENDED for each in record.events(kind)}:
        # It failed, fell behind, or its patience ended it.
        if digest in last:
            total -= (last[digest].epochs or epochs) - last[digest].epoch
    failed = {event.digest for event in record.events(FinalistFailed)}
    return Steps(done=done, total=total - epochs * len(failed - {*last}), unit="epochs")


def planned_seconds(summary: Summary) -> dict[str, float]:
    """Returns the plan's seconds by phase; empty for a run of a version that did not record them."""
    return {name: float(value) for name, value in summary.record.part("plan", "seconds").items() if _is_time(value)}


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
