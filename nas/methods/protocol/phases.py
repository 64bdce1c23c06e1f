"""The phases of a run on record: when each starts, ends or is interrupted, and how long it took in all."""

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
    """Whether a phase has been done to its end."""
    return any(event.phase == name for event in run.events(PhaseFinished))


def do_phase(run: Run, name: str, work: Callable[[], Any]) -> Any:
    """Does one phase's work. It may have been done before: what it makes is then made again, and nothing recorded."""
    finished = is_finished(run, name)
    if not finished:
        run.append(PhaseStarted(phase=name))
    rearm()
    began = time.monotonic()
    try:
        found = work()
    except KeyboardInterrupt:
        with suppress(RunError):  # what is lost of a full disk is the word that somebody pressed Ctrl-C
            run.append(PhaseInterrupted(phase=name))
        raise
    if not finished:
        seconds = earlier_seconds(run, name) + time.monotonic() - began
        run.append(PhaseFinished(phase=name, seconds=seconds))
    return found
