"""Where scoring jobs run. Jobs and results are plain data; results come back in the order of the jobs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch

from nas.architecture import Architecture
from nas.training.threads import threads_set


class Scorer(Protocol):
    """Measures an architecture; higher is better. The order of calls must not matter."""

    def score(self, architecture: Architecture) -> float: ...


@runtime_checkable
class PopulationScorer(Scorer, Protocol):
    """A scorer that is quicker with many networks at a time; the scores are the same."""

    def score_many(self, architectures: Sequence[Architecture]) -> list[float]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One architecture to score, as plain data."""

    architecture: dict[str, Any]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a job: a finite score, or the reason why there is none.

    Attributes:
        transient: The failure may be the machine's, not the network's: another try may go well.
        retries: Why earlier tries of the same job came to nothing.
    """

    status: Literal["complete", "failed"]
    score: float | None
    seconds: float
    error: str | None = None
    transient: bool = False
    retries: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "retries", tuple(self.retries))


class Executor(Protocol):
    """Runs jobs somewhere."""

    def map(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """Results in the order of the jobs; a failing job is a failed result, never an exception."""
        ...

    def close(self) -> None:
        """Lets go of workers."""
        ...


class InProcess:
    """Runs jobs in this process: one after another, or many at a time where the scorer is quicker so.

    Args:
        make_scorer: Called once, when the first job comes.
        threads: CPU threads of torch while a job runs.
        together: Jobs at a time, at most, for a `PopulationScorer`.
    """

    def __init__(self, make_scorer: Callable[[], Scorer], *, threads: int = 1, together: int = 16) -> None:
        self._make_scorer, self._threads, self._together = make_scorer, threads, together
        self._scorer: Scorer | None = None

    def map(self, jobs: Iterable[Job]) -> Iterator[Result]:
        waiting = list(jobs)
        while waiting:
            if self._scorer is None:
                self._scorer = self._make_scorer()
            size = self._together if isinstance(self._scorer, PopulationScorer) else 1
            now, waiting = waiting[:size], waiting[size:]
            with threads_set(self._threads):
                results = run_jobs(self._scorer, now)
            yield from results

    def close(self) -> None:
        self._scorer = None


def run_jobs(scorer: Scorer, jobs: Sequence[Job]) -> list[Result]:
    """Runs several jobs together where the scorer can and all go well, else one by one.

    Each of jobs that ran together is said to have taken an equal part of their time.
    """
    if len(jobs) > 1 and isinstance(scorer, PopulationScorer):
        began = time.monotonic()
        try:
            scores = scorer.score_many([Architecture.from_dict(job.architecture) for job in jobs])
        except Exception:  # of one of them, or of what they need together; one by one each says its own
            scores = []
        if len(scores) == len(jobs) and all(map(math.isfinite, scores)):
            seconds = (time.monotonic() - began) / len(jobs)
            return [Result(status="complete", score=float(score), seconds=seconds) for score in scores]
    return [run_job(scorer, job) for job in jobs]


def run_job(scorer: Scorer, job: Job) -> Result:
    """Runs one job. Any fault but an interrupt is a failed result with its reason in one line."""
    began, transient = time.monotonic(), False
    try:
        score = float(scorer.score(Architecture.from_dict(job.architecture)))
        error = None if math.isfinite(score) else f"The score is {score}, not a finite number."
    except Exception as fault:  # a fault of one candidate must not end the search
        name, reason = type(fault).__name__, " ".join(str(fault).split())[:300]
        score, error = math.nan, f"{name}: {reason}" if reason else name
        transient = _is_lack_of_memory(fault)
    seconds = time.monotonic() - began
    if error is not None:
        return Result(status="failed", score=None, seconds=seconds, error=error, transient=transient)
    return Result(status="complete", score=score, seconds=seconds)


def _is_lack_of_memory(fault: Exception) -> bool:
    """Whether memory ran out; torch says so of the CPU's by a plain `RuntimeError`."""
    return isinstance(fault, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(fault)
