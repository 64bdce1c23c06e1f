"""How long a run has worked, over all the times that it was started and stopped.

A sitting that was killed could not say how long it was. The next one records, as "resumed", what is known: from the
start of the sitting (and of the phase that was stopped) to its last sign of life.
"""

from __future__ import annotations

from datetime import datetime

from nas.run.folder import Run, RunRecord
from nas.run.record import Event


def record_resumed(run: Run, *, last_sign: float = 0.0) -> None:
    """Records that a run goes on, which phase was stopped and how long the sitting before is known to have worked.

    Args:
        last_sign: When something other than an event was written last, in seconds since 1970.
    """
    sitting = phase_began = _when(run.events()[0])
    phase = None
    for event in run.events():
        if event["event"] == "resumed":
            sitting, phase = _when(event), None
        elif event["event"] == "phase_started":
            phase, phase_began = event["phase"], _when(event)
        elif event["event"] == "phase_finished":
            phase = None
    ended = max(last_sign, _when(run.events()[-1]))
    run.append(
        "resumed",
        seconds=round(max(0.0, ended - sitting), 3),
        phase=phase,
        phase_seconds=0.0 if phase is None else round(max(0.0, ended - phase_began), 3),
    )


def earlier_seconds(record: RunRecord, phase: str | None = None) -> float:
    """Seconds that earlier sittings are known to have spent: on a phase that they did not finish, or in all."""
    resumed = record.events("resumed")
    if phase is None:
        return float(sum(event["seconds"] for event in resumed))
    return float(sum(event["phase_seconds"] for event in resumed if event["phase"] == phase))


def _when(event: Event) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()
