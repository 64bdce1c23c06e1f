"""Ctrl-C handling: a graceful stop if the work allows it, and an exit within seconds in any case.

A Python signal handler runs only when the main thread returns to Python code, which may take minutes in a long
computation. A second thread is therefore notified of each signal at once, by `signal.set_wakeup_fd`.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

from nas.run.signals import ECHO_S, LIMIT_S, SIGNALS, stoppable

INTERRUPTED = 130
_ending = threading.Lock()


@contextmanager
def interruptible(last_words: Callable[[], str]) -> Generator[None, None, None]:
    """Makes SIGINT and SIGTERM raise `KeyboardInterrupt` in the block.

    If the block does not end within `LIMIT_S`, or on a second signal, the process exits immediately.

    Args:
        last_words: Returns the message to write before that exit.
    """
    with stoppable(lambda: _end(last_words)):
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        thread = threading.Thread(target=_watch, args=(reader, last_words), daemon=True)
        thread.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            os.close(writer)
            thread.join()
            os.close(reader)


def _watch(reader: int, last_words: Callable[[], str]) -> None:
    """Ends the process on a second signal, or `LIMIT_S` after the first."""
    first: float | None = None
    while True:
        left = None if first is None else max(0.0, first + LIMIT_S - time.monotonic())
        if not select.select([reader], [], [], left)[0]:
            _end(last_words)
        heard = os.read(reader, 64)
        if not heard:
            return
        if not any(number in heard for number in SIGNALS):
            continue
        if first is None:
            first = time.monotonic()
        elif time.monotonic() - first >= ECHO_S:
            _end(last_words)


def _end(last_words: Callable[[], str]) -> None:
    end_at_once(INTERRUPTED, last_words())


def end_at_once(status: int, words: str) -> None:
    """Ends the process immediately, whatever its other threads do."""
    if not _ending.acquire(blocking=False):
        time.sleep(LIMIT_S)  # another thread is ending it
    show_cursor = "\r\x1b[?25h" if sys.stderr.isatty() else ""
    with suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), f"{show_cursor}{words}\n".encode(errors="replace"))
    os._exit(status)
