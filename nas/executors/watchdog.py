"""Ends a process that gives no sign of life for too long: run as a program beside it, on the same machine.

    python watchdog.py SECONDS     signs of life on standard input, each the seconds until the next one is due

It is a process of its own, since one that is stopped (SIGSTOP) or hangs cannot end itself. It uses the standard library
alone, and ends with the process that it watches.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

PATIENCE_S = 2.0
"""Between SIGABRT, which leaves a traceback where Python handles it, and SIGKILL, which also ends a stopped process."""


def watch(process: int, seconds: float) -> None:
    """Waits until the signs of life end or stay out."""
    unread = b""
    while True:
        ready, _, _ = select.select([0], [], [], seconds)
        if not ready:
            _end(process)
            return
        sign = os.read(0, 4096)
        if not sign:
            return
        *whole, unread = (unread + sign).split(b"\n")
        if whole:
            seconds = float(whole[-1])


def _end(process: int) -> None:
    for number, patience in ((signal.SIGABRT, PATIENCE_S), (signal.SIGKILL, 0.0)):
        if os.getppid() != process:  # it has ended, and its number may be another's
            return
        os.kill(process, number)
        time.sleep(patience)


if __name__ == "__main__":
    watch(os.getppid(), float(sys.argv[1]))
