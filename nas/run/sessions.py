"""The working time of a run, summed over its sessions (from a start or resume to the next stop).

A killed session cannot record its duration. The next one records it as `RunResumed`: the time from the start of the
session (and of the phase that was stopped) to its last event.
"""

from __future__ import annotations

from nas.run.events import PhaseFinished, PhaseStarted, RunResumed
from nas.run.folder import Run, RunRecord


def record_resumed(run: Run, *, last_sign: float = 0.0) -> None:
    """Records that a run is resumed, which phase was stopped and the known duration of the previous session.

    Args:
        last_sign: When a file other than the record was last written, in seconds since 1970.
    """
    session = phase_began = run.but_trials()[0].time.timestamp()
    phase = None
    for event in run.but_trials():
        if isinstance(event, RunResumed):
            session, phase = event.time.timestamp(), None
        elif isinstance(event, PhaseStarted):
            phase, phase_began = event.phase, event.time.timestamp()
        elif isinstance(event, PhaseFinished):
            phase = None
    ended = max(last_sign, run.latest().time.timestamp())
    run.append(
        RunResumed(
            seconds=round(max(0.0, ended - session), 3),
            phase=phase,
            phase_seconds=0.0 if phase is None else round(max(0.0, ended - phase_began), 3),
        )
    )


def earlier_seconds(record: RunRecord, phase: str | None = None) -> float:
    """Returns the known seconds of earlier sessions, in total or on a phase that they did not finish."""
    resumed = record.events(RunResumed)
    if phase is None:
        return float(sum(event.seconds for event in resumed))
    return float(sum(event.phase_seconds for event in resumed if event.phase == phase))
