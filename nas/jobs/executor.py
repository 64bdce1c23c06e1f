"""Where jobs run: scoring, measuring, training. Jobs and results are plain data; none depends on another."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch

from nas.architecture import Architecture
from nas.training.freed_memory import give_back_what_grew
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
    """One architecture to score or measure, as plain data; other kinds of jobs say what else they need."""

    architecture: dict[str, Any]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a job: a value, or the reason why there is none.

    Attributes:
        value: Plain data, by the kind of job: a finite score, the values of proxies, an accuracy.
        transient: The failure may be the machine's, not the network's: another try may go well.
        retries: Why earlier tries of the same job came to nothing.
    """

    status: Literal["complete", "failed"]
    value: Any
    seconds: float
    error: str | None = None
    transient: bool = False
    retries: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "retries", tuple(self.retries))


@runtime_checkable
class Task(Protocol):
    """Does jobs of another kind than scoring. The order of calls must not matter."""

    def run(self, job: Job) -> Result:
        """What came of a job. A failing one is a failed result; what is raised ends the search."""
        ...


class Executor(Protocol):
    """Runs jobs somewhere."""

    def map(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """Results in the order of the jobs; a job that fails is a failed result."""
        ...

    def completed(self, ask: Callable[[int], Sequence[Job]], most: int) -> Iterator[tuple[int, Result]]:
        """Results as they come, each with the place of its job among those that were asked for.

        Args:
            ask: Returns up to so many jobs, since as many workers are free, and fewer only if there are no more. It is
                called after the results so far were taken, so what it returns may follow from them.
            most: How many jobs there are at most.
        """
        ...

    def close(self) -> None:
        """Lets go of workers."""
        ...


class InProcess:
    """Runs jobs in this process: one after another, or many at a time where the scorer is quicker so.

    Args:
        make: Makes what does the jobs; called once, when the first comes.
        threads: CPU threads of torch while a job runs.
        together: Jobs at a time, at most, for a `PopulationScorer`.
    """

    def __init__(self, make: Callable[[], Scorer | Task], *, threads: int = 1, together: int = 16) -> None:
        self._make, self._threads, self._together = make, threads, together
        self._doer: Scorer | Task | None = None

    def map(self, jobs: Iterable[Job]) -> Iterator[Result]:
        waiting = list(jobs)
        while waiting:
            if self._doer is None:
                self._doer = self._make()
            size = self._together if isinstance(self._doer, PopulationScorer) else 1
            now, waiting = waiting[:size], waiting[size:]
            with threads_set(self._threads):
                results = run_jobs(self._doer, now)
            yield from results

    def completed(self, ask: Callable[[int], Sequence[Job]], most: int) -> Iterator[tuple[int, Result]]:
        for place in range(most):
            jobs = ask(1)
            if not jobs:
                return
            yield from ((place, result) for result in self.map(jobs))

    def close(self) -> None:
        self._doer = None


def run_jobs(doer: Scorer | Task, jobs: Sequence[Job]) -> list[Result]:
    """Runs several jobs together where the scorer can and all go well, else one by one.

    Each of jobs that ran together is said to have taken an equal part of their time.
    """
    if len(jobs) > 1 and isinstance(doer, PopulationScorer):
        began = time.monotonic()
        try:
            scores = doer.score_many([Architecture.from_dict(job.architecture) for job in jobs])
        except Exception:  # of one of them, or of what they need together; one by one each says its own
            scores = []
        if len(scores) == len(jobs) and all(map(math.isfinite, scores)):
            seconds = (time.monotonic() - began) / len(jobs)
            return [Result(status="complete", value=float(score), seconds=seconds) for score in scores]
    return [run_job(doer, job) for job in jobs]


def run_job(doer: Scorer | Task, job: Job) -> Result:
    """Runs one job. Any fault of a score but an interrupt is a failed result with its reason in one line."""
    if isinstance(doer, Task):
        return doer.run(job)
    began, transient = time.monotonic(), False
    try:
        score = float(doer.score(Architecture.from_dict(job.architecture)))
        error = None if math.isfinite(score) else f"The score is {score}, not a finite number."
    except Exception as fault:  # a fault of one candidate must not end the search
        name, reason = type(fault).__name__, " ".join(str(fault).split())[:300]
        score, error = math.nan, f"{name}: {reason}" if reason else name
        transient = is_lack_of_memory(fault)
    seconds = time.monotonic() - began
    give_back_what_grew()
    if error is not None:
        return Result(status="failed", value=None, seconds=seconds, error=error, transient=transient)
    return Result(status="complete", value=score, seconds=seconds)


def is_lack_of_memory(fault: Exception) -> bool:
    """Returns whether memory ran out; torch says so of the CPU's by a plain `RuntimeError`."""
    return isinstance(fault, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(fault)


def lack_of_memory(fault: Exception) -> str:
    """Returns the reason of a training that failed for lack of memory, in one line."""
    return f"Out of memory ({' '.join(str(fault).split())[-200:] or type(fault).__name__})."
