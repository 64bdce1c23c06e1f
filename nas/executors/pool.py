"""Jobs on workers that may die, hang or never start: what runs where, what is tried again, and which result is whose.

Nothing here knows how workers are made; `Crew` does. So the rules can be tested without starting a process.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Generic, Protocol, TypeVar

from nas.errors import RunError
from nas.jobs.executor import Job, Result

RETRIES = 2
"""How often a job is tried again whose worker died, hung or ran out of memory."""
STARTS = 3
"""How many workers in a row may fail to start before there is no point in starting more."""
START_S = 120.0
# A job may take so many times the longest so far, and no less than `_LEAST_S`; before any is known, `_FIRST_S`.
_TIMES_LONGEST, _TIMES_EXPECTED, _LEAST_S, _FIRST_S = 20.0, 50.0, 120.0, 600.0

W = TypeVar("W")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of the last thing that a worker was asked.

    Attributes:
        result: Of a job; None where it was asked to start.
        lost: Why there will be no answer, ever, of this worker.
    """

    result: Result | None = None
    lost: str | None = None


class Crew(Protocol[W]):
    """Makes workers and passes on what is asked. A worker is asked one thing at a time."""

    def start(self) -> W:
        """Begins to start a worker; its first answer says that it is ready, or lost."""
        ...

    def ask(self, worker: W, job: Job) -> None: ...

    def answers(self, workers: list[W], timeout_s: float) -> list[tuple[W, Answer]]:
        """Answers of all that have one, once there is any; none after `timeout_s`."""
        ...

    def stop(self, worker: W) -> None:
        """Ends a worker, whatever it does."""
        ...


class TimeLimit:
    """How long a job may take.

    Args:
        given_s: A fixed limit; None lets it follow from the jobs so far.
        expected_s: What a job is expected to take.
    """

    def __init__(self, given_s: float | None, expected_s: float) -> None:
        self._given, self._expected, self._longest = given_s, expected_s, 0.0

    def saw(self, seconds: float) -> None:
        """A job took so long."""
        self._longest = max(self._longest, seconds)

    @property
    def seconds(self) -> float:
        if self._given is not None:
            return self._given
        if not self._longest:
            return max(_FIRST_S, _TIMES_EXPECTED * self._expected)
        return max(_LEAST_S, _TIMES_LONGEST * self._longest)


@dataclass(eq=False)
class _Try:
    """A job on its way, with why earlier tries came to nothing."""

    place: int
    job: Job
    reasons: list[str] = field(default_factory=list)


class _Waiting:
    """Jobs that no worker has: those to try again, and further ones, which are asked for when workers are free."""

    def __init__(self, ask: Callable[[int], Sequence[Job]], most: int) -> None:
        self._ask, self._further = ask, most
        self._asked = 0
        self._again: deque[_Try] = deque()

    @property
    def most(self) -> int:
        """How many there may be."""
        return len(self._again) + self._further

    def take(self, free: int) -> list[_Try]:
        """Returns jobs for so many workers, or fewer once the further ones are used up."""
        found = [self._again.popleft() for _ in range(min(free, len(self._again)))]
        wanted = min(free - len(found), self._further)
        if wanted:
            jobs = self._ask(wanted)
            found += [_Try(place, job) for place, job in enumerate(jobs, start=self._asked)]
            self._asked += len(jobs)
            self._further = self._further - wanted if len(jobs) == wanted else 0
        return found

    def again(self, task: _Try) -> None:
        self._again.appendleft(task)


@dataclass(eq=False)
class _Seat(Generic[W]):
    """A worker, what it was asked and when; without a task it is starting, or idle once `ready`."""

    worker: W
    since: float
    ready: bool = False
    task: _Try | None = None


class WorkerPool(Generic[W]):
    """An `Executor` on a crew's workers.

    Args:
        size: Workers at a time; a function is asked again and again, and more are started when there is room for more.
        clock: Seconds, growing.
    """

    def __init__(
        self,
        crew: Crew[W],
        *,
        size: int | Callable[[], int],
        limit: TimeLimit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._crew, self._size, self._limit, self._clock = crew, size, limit, clock
        self._seats: list[_Seat[W]] = []
        self._failed_starts = 0

    def map(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """Results in the order of the jobs, each once it and all before it are there.

        Raises:
            RunError: If no worker can be started.
        """
        asked = list(jobs)
        left = iter(asked)
        early, due = dict[int, Result](), 0
        for place, result in self.completed(lambda free: list(islice(left, free)), len(asked)):
            early[place] = result
            while due in early:
                yield early.pop(due)
                due += 1

    def completed(self, ask: Callable[[int], Sequence[Job]], most: int) -> Iterator[tuple[int, Result]]:
        """Results as they come, as `Executor`; raises as `map`."""
        waiting = _Waiting(ask, most)
        done: list[tuple[int, Result]] = []
        while True:
            self._fill(waiting.most)
            self._give(waiting)
            if not waiting.most and all(seat.task is None for seat in self._seats):
                return
            self._listen(waiting, done)
            yield from done
            done.clear()

    def close(self) -> None:
        """Ends all workers, idle or not."""
        while self._seats:
            self._crew.stop(self._seats.pop().worker)

    def _fill(self, waiting: int) -> None:
        """Starts workers up to the size, where there is work for them."""
        free = sum(seat.task is None for seat in self._seats)
        size = self._size() if callable(self._size) else self._size
        while len(self._seats) < size and free < waiting:
            self._seats.append(_Seat(self._crew.start(), self._clock()))
            free += 1

    def _give(self, waiting: _Waiting) -> None:
        free = [seat for seat in self._seats if seat.ready and seat.task is None]
        for seat, task in zip(free, waiting.take(len(free)), strict=False):
            seat.task, seat.since = task, self._clock()
            self._crew.ask(seat.worker, task.job)

    def _listen(self, waiting: _Waiting, done: list[tuple[int, Result]]) -> None:
        """Takes in what comes until the next deadline, and gives up those that are past theirs."""
        busy = {id(seat.worker): seat for seat in self._seats if seat.task is not None or not seat.ready}
        deadline = min((self._deadline(seat) for seat in busy.values()), default=math.inf)
        workers = [seat.worker for seat in busy.values()]
        for worker, answer in self._crew.answers(workers, max(0.0, deadline - self._clock())):
            seat = busy.pop(id(worker))
            if answer.lost is not None:
                self._crew.stop(worker)  # out of reach is not yet dead
                self._lose(seat, answer.lost, waiting, done)
            elif answer.result is None:
                seat.ready, self._failed_starts = True, 0
            else:
                self._settle(seat, answer.result, waiting, done)
        for seat in busy.values():
            if self._clock() >= self._deadline(seat):
                self._crew.stop(seat.worker)
                what = "The job ran" if seat.task else "The worker did not start within"
                limit = self._deadline(seat) - seat.since
                self._lose(seat, f"{what} {'longer than ' if seat.task else ''}{limit:.0f} s.", waiting, done)

    def _deadline(self, seat: _Seat[W]) -> float:
        return seat.since + (self._limit.seconds if seat.task is not None else START_S)

    def _settle(self, seat: _Seat[W], result: Result, waiting: _Waiting, done: list[tuple[int, Result]]) -> None:
        task, seat.task = seat.task, None
        assert task is not None
        self._limit.saw(result.seconds)
        if result.transient and len(task.reasons) < RETRIES:
            task.reasons.append(result.error or "")
            waiting.again(task)
            return
        done.append((task.place, replace(result, retries=tuple(task.reasons))))

    def _lose(self, seat: _Seat[W], reason: str, waiting: _Waiting, done: list[tuple[int, Result]]) -> None:
        """A worker is gone; its job is tried again on another, `RETRIES` times at most."""
        self._seats.remove(seat)
        task = seat.task
        if task is None:
            self._failed_starts += 1
            if self._failed_starts >= STARTS and not any(other.ready for other in self._seats):
                raise RunError(f"No worker could be started: {reason} Go on with --resume and --workers 0.")
            return
        task.reasons.append(reason)
        if len(task.reasons) <= RETRIES:
            waiting.again(task)
            return
        given_up = Result(
            status="failed",
            value=None,
            seconds=self._clock() - seat.since,
            error=f"Given up after {len(task.reasons)} tries. {reason}",
            retries=tuple(task.reasons[:-1]),
        )
        done.append((task.place, given_up))
