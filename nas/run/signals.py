"""Graceful stop: SIGINT and SIGTERM end work between its steps, never inside one.

The first signal raises `KeyboardInterrupt` at once, or at the end of the current `uninterrupted` section; code that
catches it saves its state and raises it again. A second signal raises at once, everywhere.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

LIMIT_S = 9.0
"""Seconds after the first signal at which the command line exits, whatever is still running."""
ECHO_S = 0.5
"""A signal this soon after the first is a duplicate of it: a terminal and make or uv may both forward one."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Stop:
    """The state of signal handling; a single instance, as a process has one set of handlers."""

    def __init__(self) -> None:
        self.asked: float | None = None
        self.pending = False
        self.sections = 0
        self.mine: list[signal.Signals] = []
        self.at_second: Callable[[], None] | None = None

    def heard(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.asked is None:
            self.asked = now
            if self.sections:
                self.pending = True
                return
        elif now - self.asked < ECHO_S:
            return
        elif self.at_second is not None:
            self.at_second()
        raise KeyboardInterrupt


_stop = _Stop()


@contextmanager
def stoppable(at_second: Callable[[], None] | None = None) -> Generator[None, None, None]:
    """Handles SIGINT and SIGTERM while the block runs, then restores the previous handlers.

    Handlers set by the caller, and ignored signals (as after `nohup`), are left alone. Does nothing outside the
    main thread, where Python runs no handlers, or inside another such block.

    Args:
        at_second: Called on a second signal, before it raises.
    """
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    mine = [number for number in SIGNALS if before[number] in defaults] if _in_main_thread() else []
    if not mine:
        yield
        return
    _stop.mine, _stop.at_second = mine, at_second
    rearm()
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number])
        _stop.mine, _stop.at_second = [], None
        _stop.asked, _stop.pending = None, False


def rearm() -> None:
    """Handles the signals again, within `stoppable`, after a library has put its own handlers in place."""
    if _in_main_thread():
        for number in _stop.mine:
            signal.signal(number, _stop.heard)


@contextmanager
def uninterrupted() -> Generator[None, None, None]:
    """A section that a first signal does not interrupt: `KeyboardInterrupt` is raised at its end."""
    if not _in_main_thread():
        yield
        return
    _stop.sections += 1
    try:
        yield
    finally:
        _stop.sections -= 1
    if _stop.pending and not _stop.sections:
        _stop.pending = False
        raise KeyboardInterrupt


def seconds_left() -> float:
    """Returns the seconds left to save state before the exit; infinite if no signal came."""
    return float("inf") if _stop.asked is None else _stop.asked + LIMIT_S - time.monotonic()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
