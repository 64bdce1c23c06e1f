"""One mutated input tried on one reader: accepted, or refused in one line by an error of ours; nothing else.

Used by the tests that hypothesis drives and by the longer run in `experiments/fuzz`.
"""

from __future__ import annotations

import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings, strategies

from nas.errors import NasError

from .fuzz_mutations import SENTINEL

LIMIT_S = 20.0
"""Time for one input. The slowest take a second or two; the rest is for a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A reader under test.

    Attributes:
        make: Writes one mutated input into an empty folder.
        parsed: Whether the input in the folder gets past the parser, so that its meaning is looked at.
        use: Reads the input and does with it what people do; raises `NasError` to refuse it.
    """

    name: str
    make: Callable[[random.Random, Path], None]
    parsed: Callable[[Path], bool]
    use: Callable[[Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of one input; `refused` is the class of the error, None where it was accepted."""

    parsed: bool
    refused: str | None
    message: str
    seconds: float


def explore(target: Target, examples: int) -> Counter[str]:
    """Tries so many inputs, the same ones every time; counts those parsed and accepted, and the errors of the others.

    Raises:
        BaseException: As `attempt`, for the first input that is neither accepted nor refused as it should be.
    """
    seen: Counter[str] = Counter()

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(rng=strategies.randoms(use_true_random=True))
    def each(rng: random.Random) -> None:
        with tempfile.TemporaryDirectory() as home:
            found = attempt(target, rng, Path(home))
        seen["tried"] += 1
        seen["parsed"] += found.parsed
        seen[found.refused or "accepted"] += 1

    each()
    return seen


class TookTooLongError(BaseException):
    """Not an `Exception`, which a reader might catch."""


def attempt(target: Target, rng: random.Random, home: Path) -> Attempt:
    """Tries one input in an empty folder.

    Raises:
        AssertionError: If a refusal takes more than a line, or something was executed.
        TookTooLongError: If it took longer than `LIMIT_S`.
        Exception: Whatever else the reader raised: a fault of ours.
    """
    target.make(rng, home)
    refused, message = None, ""
    with _limited():
        parsed = target.parsed(home)
        began = time.perf_counter()
        try:
            target.use(home)
        except NasError as fault:
            refused, message = type(fault).__name__, str(fault)
        seconds = time.perf_counter() - began
    assert "\n" not in message, message
    assert (refused is None) == (not message), f"{refused} says nothing"
    assert len(message) < 1500, message
    assert not (home / SENTINEL).exists(), "something of the input was executed"
    assert not Path(SENTINEL).exists(), "something of the input was executed"
    return Attempt(parsed=parsed, refused=refused, message=message, seconds=seconds)


@contextmanager
def _limited() -> Generator[None, None, None]:
    def stop(*_: object) -> None:
        raise TookTooLongError(f"more than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    left, _ = signal.setitimer(signal.ITIMER_REAL, LIMIT_S)  # what pytest's own limit has left
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, left)
