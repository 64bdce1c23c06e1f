"""How long a run has worked, over all the times that it was started and stopped.

A session that was killed could not say how long it was. The next one records, as `RunResumed`, what is known: from the
start of the session (and of the phase that was stopped) to its last event.
"""

from __future__ import annotations

from nas.run.events import PhaseFinished, PhaseStarted, RunResumed
from nas.run.folder import Run, RunRecord


def record_resumed(run: Run, *, last_sign: float = 0.0) -> None:
    """Records that a run goes on, which phase was stopped and how long the session before is known to have worked.

    Args:
        last_sign: When something other than an event was written last, in seconds since 1970.
    """
    session = phase_began = run.events()[0].time.timestamp()
    phase = None
    for event in run.events():
        if isinstance(event, RunResumed):
            session, phase = event.time.timestamp(), None
        elif isinstance(event, PhaseStarted):
            phase, phase_began = event.phase, event.time.timestamp()
        elif isinstance(event, PhaseFinished):
            phase = None
    ended = max(last_sign, run.events()[-1].time.timestamp())
    run.append(
        RunResumed(
            seconds=round(max(0.0, ended - session), 3),
            phase=phase,
            phase_seconds=0.0 if phase is None else round(max(0.0, ended - phase_began), 3),
        )
    )


def earlier_seconds(record: RunRecord, phase: str | None = None) -> float:
    """Seconds that earlier sessions are known to have spent: on a phase that they did not finish, or in all."""
    resumed = record.events(RunResumed)
    if phase is None:
        return float(sum(event.seconds for event in resumed))
    return float(sum(event.phase_seconds for event in resumed if event.phase == phase))
