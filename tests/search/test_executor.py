import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict

import pytest
import torch

import nas
from nas.architecture import Architecture
from nas.jobs.executor import Executor, InProcess, Job, Result

SPACE = nas.load_space("coatnet-small")


class Scripted:
    """A scorer that does as it is told, call by call."""

    def __init__(self, *calls: Callable[[Architecture], float]) -> None:
        self.calls = list(calls)
        self.seen: list[Architecture] = []

    def score(self, architecture: Architecture) -> float:
        self.seen.append(architecture)
        return self.calls.pop(0)(architecture)


def fails(fault: BaseException) -> Callable[[Architecture], float]:
    def call(_: Architecture) -> float:
        raise fault

    return call


def jobs(count: int) -> list[Job]:

    rng = random.Random(0)
    return [Job(architecture=SPACE.sample(rng).to_dict(), seed=i) for i in range(count)]


def results(*calls: Callable[[Architecture], float]) -> list[Result]:
    executor: Executor = InProcess(lambda: Scripted(*calls))
    return list(executor.map(jobs(len(calls))))


def test_results_come_in_the_order_of_the_jobs() -> None:
    asked = jobs(3)
    scorer = Scripted(*[lambda a: float(len(a.stages[0].layers))] * 3)
    found = list(InProcess(lambda: scorer).map(asked))
    assert scorer.seen == [Architecture.from_dict(job.architecture) for job in asked]
    assert [result.value for result in found] == [len(a.stages[0].layers) for a in scorer.seen]
    assert {result.status for result in found} == {"complete"}


def test_a_failing_job_is_a_failed_result_and_the_next_one_runs() -> None:
    first, second = results(fails(RuntimeError("out\nof   memory")), lambda _: 0.5)
    assert (first.status, first.value, first.error) == ("failed", None, "RuntimeError: out of memory")
    assert (second.status, second.value, second.error) == ("complete", 0.5, None)


def test_only_a_lack_of_memory_is_worth_another_try() -> None:
    lack = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")
    found = results(fails(lack), fails(MemoryError()), fails(RuntimeError("no")), lambda _: math.nan, lambda _: 1.0)
    assert [result.transient for result in found] == [True, True, False, False, False]


def test_jobs_run_on_their_own_number_of_threads() -> None:
    seen: list[int] = []

    def count(_: Architecture) -> float:
        seen.append(torch.get_num_threads())
        return 1.0

    before = torch.get_num_threads()
    list(InProcess(lambda: Scripted(count), threads=before + 1).map(jobs(1)))
    assert (seen, torch.get_num_threads()) == ([before + 1], before)


def test_a_fault_without_words_is_named() -> None:
    assert results(fails(MemoryError()))[0].error == "MemoryError"


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_a_failure(score: float) -> None:
    (found,) = results(lambda _: score)
    assert (found.status, found.value) == ("failed", None)
    assert found.error == f"The score is {score}, not a finite number."


def test_an_architecture_that_cannot_be_read_is_a_failure() -> None:
    (found,) = InProcess(lambda: Scripted(lambda _: 1.0)).map([Job(architecture={"format": 2}, seed=0)])
    assert found.status == "failed"
    assert (found.error or "").startswith("ArchitectureError: ")


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), SystemExit(3)])
def test_an_interrupt_passes_through(fault: BaseException) -> None:
    with pytest.raises(type(fault)):
        results(fails(fault))


def test_a_scorer_that_cannot_be_made_is_no_failed_job() -> None:
    def make() -> Scripted:
        raise OSError("no weights")

    with pytest.raises(OSError, match="no weights"):
        list(InProcess(make).map(jobs(1)))


def test_one_scorer_serves_all_jobs() -> None:
    made: list[Scripted] = []

    def make() -> Scripted:
        made.append(Scripted(*[lambda _: 1.0] * 4))
        return made[-1]

    executor = InProcess(make)
    assert not made
    list(executor.map(jobs(2)))
    list(executor.map(jobs(2)))
    assert len(made) == 1


def test_results_come_as_they_are_ready() -> None:
    scorer = Scripted(lambda _: 1.0, fails(KeyboardInterrupt()))
    running = InProcess(lambda: scorer).map(jobs(2))
    assert next(running).value == 1.0
    assert len(scorer.seen) == 1


def test_jobs_and_results_are_plain_data() -> None:
    (job,), (result,) = jobs(1), results(lambda _: 0.25)
    assert Job(**json.loads(json.dumps(asdict(job)))) == job
    assert Result(**json.loads(json.dumps(asdict(result)))) == result


class Together:
    """Notes how many it is asked for at a time; fails together where it is told to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.sizes: list[int] = []
        self.fails = fails

    def score(self, architecture: Architecture) -> float:
        self.sizes.append(1)
        return float(sum(len(stage.to_dict()["layers"]) for stage in architecture.stages))

    def score_many(self, architectures: Sequence[Architecture]) -> list[float]:
        self.sizes.append(len(architectures))
        if self.fails:
            raise RuntimeError("out of room")
        return [float(sum(len(stage.to_dict()["layers"]) for stage in each.stages)) for each in architectures]


def depth(job: Job) -> float:
    return float(sum(len(stage["layers"]) for stage in job.architecture["stages"]))


def test_jobs_run_together_where_the_scorer_can() -> None:
    scorer, asked = Together(), jobs(6)
    found = list(InProcess(lambda: scorer, together=4).map(asked))
    assert [result.value for result in found] == [depth(job) for job in asked]
    assert scorer.sizes == [4, 2]


def test_jobs_that_fail_together_are_run_one_by_one() -> None:
    scorer, asked = Together(fails=True), jobs(3)
    found = list(InProcess(lambda: scorer).map(asked))
    assert [result.value for result in found] == [depth(job) for job in asked]
    assert scorer.sizes == [3, 1, 1, 1]
