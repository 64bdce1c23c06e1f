"""What runs where and what is tried again, on workers that are played by this test: no process, no waiting."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, islice

import pytest

from nas.errors import RunError
from nas.executors.pool import RETRIES, START_S, STARTS, Answer, TimeLimit, WorkerPool
from nas.jobs.executor import Job, Result

# What a worker does when it is asked for a job: answers, is lost for a reason, or never answers (None).
Deed = Callable[[Job], Result | str | None]


def good(job: Job) -> Result:
    return Result(status="complete", value=float(job.seed), seconds=1.0)


def dies(_: Job) -> str:
    return "It died."


def hangs(_: Job) -> None:
    return None


def out_of_memory(_: Job) -> Result:
    return Result(status="failed", value=None, seconds=1.0, error="MemoryError", transient=True)


class Players:
    """A crew. `deeds` says what is done with each try of a job, by its seed; without any left, jobs go well.

    Asked for answers, one worker answers, the last asked first, so that results come out of order. Where nobody has an
    answer, the clock goes on by what the pool was ready to wait.
    """

    def __init__(self, deeds: dict[int, list[Deed]] | None = None, *, starts: list[str | None] | None = None) -> None:
        self.deeds, self.starts = deeds or {}, starts or []
        self.now = 0.0
        self.alive: list[int] = []
        self.most_alive = 0
        self.asked: list[tuple[int, int]] = []
        self._numbers = count()
        self._owed: dict[int, Answer | None] = {}

    def clock(self) -> float:
        return self.now

    def start(self) -> int:
        worker = next(self._numbers)
        self.alive.append(worker)
        self.most_alive = max(self.most_alive, len(self.alive))
        lost = self.starts.pop(0) if self.starts else None
        self._owed[worker] = None if lost == "hangs" else Answer(lost=lost)
        return worker

    def ask(self, worker: int, job: Job) -> None:
        assert worker in self.alive
        self.asked.append((worker, job.seed))
        deeds = self.deeds.get(job.seed)
        found = (deeds.pop(0) if deeds else good)(job)
        self._owed[worker] = Answer(lost=found) if isinstance(found, str) else found and Answer(result=found)

    def answers(self, workers: list[int], timeout_s: float) -> list[tuple[int, Answer]]:
        for worker in reversed(workers):
            answer = self._owed[worker]
            if answer is not None:
                return [(worker, answer)]
        self.now += timeout_s
        return []

    def stop(self, worker: int) -> None:
        self.alive.remove(worker)


def jobs(number: int) -> list[Job]:
    return [Job(architecture={}, seed=seed) for seed in range(number)]


def pool(players: Players, size: int = 2, limit: float | None = None) -> WorkerPool[int]:
    return WorkerPool(players, size=size, limit=TimeLimit(limit, 1.0), clock=players.clock)


def run(players: Players, number: int = 5, size: int = 2, limit: float | None = None) -> list[Result]:
    found = pool(players, size, limit)
    results = list(found.map(jobs(number)))
    found.close()
    assert players.alive == []
    return results


def test_results_come_in_the_order_of_the_jobs() -> None:
    for size in (1, 2, 3, 7):
        assert [result.value for result in run(Players(), 7, size)] == [0, 1, 2, 3, 4, 5, 6]


def from_list(given: list[Job]) -> Callable[[int], list[Job]]:
    left = iter(given)
    return lambda free: list(islice(left, free))


def test_results_come_with_the_places_of_their_jobs_as_they_are_ready() -> None:
    players = Players({1: [dies], 3: [dies] * (RETRIES + 1)})
    running = pool(players, size=3)
    found = list(running.completed(from_list(jobs(6)), 6))
    assert len(found) == 6
    assert {place: result.value for place, result in found} == {0: 0, 1: 1, 2: 2, 3: None, 4: 4, 5: 5}
    assert dict(found)[1].retries == ("It died.",)
    assert next(place for place, _ in running.completed(from_list(jobs(3)), 3)) > 0
    running.close()


@pytest.mark.parametrize("size", [1, 3])
def test_jobs_are_asked_for_when_workers_are_free(size: int) -> None:
    running, results, given, left = pool(Players(), size), list[int](), list[tuple[int, int]](), iter(jobs(8))

    def ask(free: int) -> list[Job]:
        given.append((len(results), free))
        return list(islice(left, free))

    for place, _ in running.completed(ask, 8):
        results.append(place)
    assert sorted(results) == list(range(8))
    before = 0
    for known, free in given:
        assert 0 < free <= size - (before - known)
        before += free
    assert before == 8
    assert given[-1][0] >= 8 - size
    running.close()


def test_there_may_be_fewer_jobs_than_were_said_and_never_more() -> None:
    players = Players({2: [dies]})
    running = pool(players, size=2)
    assert sorted(place for place, _ in running.completed(from_list(jobs(3)), 50)) == [0, 1, 2]
    assert sorted(place for place, _ in running.completed(from_list(jobs(9)), 4)) == [0, 1, 2, 3]
    assert list(running.completed(from_list([]), 50)) == []
    assert list(running.completed(from_list([]), 0)) == []
    running.close()


def test_there_are_no_more_workers_than_asked_for_and_none_without_work() -> None:
    few, many = Players(), Players()
    run(few, 2, size=8)
    run(many, 9, size=3)
    assert (few.most_alive, many.most_alive) == (2, 3)


def test_workers_are_kept_from_one_batch_to_the_next() -> None:
    players = Players()
    running = pool(players)
    list(running.map(jobs(4)))
    list(running.map(jobs(4)))
    assert players.alive == [0, 1]
    running.close()


@pytest.mark.parametrize("deed", [dies, out_of_memory])
def test_a_job_whose_worker_is_lost_is_tried_again_elsewhere(deed: Deed) -> None:
    players = Players({2: [deed]})
    results = run(players)
    assert [result.value for result in results] == [0, 1, 2, 3, 4]
    assert [len(result.retries) for result in results] == [0, 0, 1, 0, 0]
    assert [seed for _, seed in players.asked].count(2) == 2


def test_a_job_that_ends_every_worker_is_a_failed_result_with_the_reason() -> None:
    players = Players({1: [dies] * (RETRIES + 1)})
    results = run(players, limit=60)
    assert [result.value for result in results] == [0, None, 2, 3, 4]
    assert results[1].status == "failed"
    assert results[1].error == "Given up after 3 tries. It died."
    assert results[1].retries == ("It died.",) * RETRIES


def test_a_job_that_always_lacks_memory_says_so() -> None:
    found = run(Players({0: [out_of_memory] * (RETRIES + 1)}), 1)[0]
    assert (found.status, found.error, found.retries) == ("failed", "MemoryError", ("MemoryError",) * RETRIES)


def test_a_job_past_its_time_is_given_up_and_tried_again() -> None:
    players = Players({0: [hangs], 1: [hangs] * (RETRIES + 1)})
    results = run(players, 3, limit=7)
    assert [result.value for result in results] == [0, None, 2]
    assert results[0].retries == ("The job ran longer than 7 s.",)
    assert results[1].error == "Given up after 3 tries. The job ran longer than 7 s."
    assert players.now == 7 * (RETRIES + 1)


def test_time_limits_follow_from_what_jobs_took() -> None:
    limit = TimeLimit(None, 1.0)
    assert limit.seconds == 600
    assert TimeLimit(None, 100.0).seconds == 5000
    limit.saw(2.0)
    assert limit.seconds == 120
    limit.saw(30.0)
    limit.saw(1.0)
    assert limit.seconds == 600
    given = TimeLimit(5, 1.0)
    given.saw(100.0)
    assert given.seconds == 5


def test_a_worker_that_does_not_start_is_replaced() -> None:
    players = Players(starts=["No room."])
    assert [result.value for result in run(players, 3)] == [0, 1, 2]


def test_where_no_worker_starts_the_search_ends_with_the_reason() -> None:
    players = Players(starts=["No room."] * STARTS)
    running = pool(players, size=1)
    with pytest.raises(RunError, match=r"No worker could be started: No room\. .*--workers 0"):
        list(running.map(jobs(2)))


def test_a_worker_that_starts_for_ever_is_given_up() -> None:
    players = Players(starts=["hangs"] * STARTS)
    with pytest.raises(RunError, match="did not start within 120 s"):
        list(pool(players, size=1).map(jobs(1)))
    assert players.now == STARTS * START_S


def test_closing_ends_workers_in_the_middle_of_a_job() -> None:
    players = Players({1: [hangs]})
    running = pool(players)
    results = running.map(jobs(3))
    assert next(results).value == 0
    running.close()
    assert players.alive == []


def test_a_job_s_own_failure_is_not_tried_again() -> None:
    broken = Result(status="failed", value=None, seconds=1.0, error="ValueError: no")
    players = Players({1: [lambda _: broken]})
    results = run(players, 3)
    assert results[1] == broken
    assert len(players.asked) == 3


def test_more_workers_are_started_once_there_is_room_for_more() -> None:
    players = Players()
    room = 1
    running = WorkerPool(players, size=lambda: room, limit=TimeLimit(None, 1.0), clock=players.clock)
    results = running.map(jobs(9))
    found = [next(results).value for _ in range(3)]
    assert players.most_alive == 1
    room = 3
    found += [result.value for result in results]
    assert players.most_alive == 3
    assert found == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    room = 1  # those that are there stay
    list(running.map(jobs(9)))
    assert len(players.alive) == 3
    running.close()
