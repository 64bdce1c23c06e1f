"""The recorded phases of a run: when each starts, ends or is interrupted, and its total duration."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nas.errors import RunError
from nas.run import Run, RunRecord
from nas.run.events import PhaseFinished, PhaseInterrupted, PhaseStarted
from nas.run.sessions import earlier_seconds
from nas.run.signals import rearm


def is_finished(run: RunRecord, name: str) -> bool:
    """Returns whether a phase is finished."""
    return any(event.phase == name for event in run.events(PhaseFinished))


def do_phase(run: Run, name: str, work: Callable[[], Any]) -> Any:
    """Runs and records a phase's work. If the phase is finished already, the work is repeated but not recorded."""
    finished = is_finished(run, name)
    if not finished:
        run.append(PhaseStarted(phase=name))
    rearm()
    began = time.monotonic()
    try:
        found = work()
    except KeyboardInterrupt:
        with suppress(RunError):  # on a full disk, only the record of the interruption is lost
            run.append(PhaseInterrupted(phase=name))
        raise
    if not finished:
        seconds = earlier_seconds(run, name) + time.monotonic() - began
        run.append(PhaseFinished(phase=name, seconds=seconds))
    return found
