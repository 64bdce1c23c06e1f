"""Keeps a library's own talk off the terminal: what there is to say is said by progress and the record."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO


@contextmanager
def quiet(*, logger: str, threads: str) -> Generator[None, None, None]:
    """Drops what a logger reports, and what threads print whose names begin with `threads`.

    Ray prints the end of every worker on standard output, from a thread of its own: into a `--json` document. When a
    node ends, it prints the last lines of its log on standard error.
    """
    log, out, error = logging.getLogger(logger), sys.stdout, sys.stderr
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    sys.stdout = _Filtered(out, threads)  # type: ignore[assignment]
    if error is not None:  # as it is where there is no console
        sys.stderr = _Filtered(error, threads)  # type: ignore[assignment]
    try:
        yield
    finally:
        log.setLevel(level)
        if isinstance(sys.stdout, _Filtered):
            sys.stdout = out
        if isinstance(sys.stderr, _Filtered):
            sys.stderr = error


@contextmanager
def no_standard_error() -> Generator[None, None, None]:
    """Drops what anybody in this process writes to standard error, C++ included."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def environment(values: Mapping[str, str | None]) -> Generator[None, None, None]:
    """Environment variables set, or unset (None), for as long as the block runs."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


class _Filtered:
    """A text stream that is deaf to some threads."""

    def __init__(self, stream: TextIO, threads: str) -> None:
        self._stream, self._threads = stream, threads

    def write(self, text: str) -> int:
        if threading.current_thread().name.startswith(self._threads):
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
