"""Jobs on actors: long-lived processes that hold a scorer, or all that trainings share, one job at a time each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError

from nas.errors import NasError, RunError
from nas.executors.code_version import program
from nas.executors.pool import Answer
from nas.executors.ray.session import in_short, raise_told
from nas.executors.worker import JobWorker, MakesDoer
from nas.jobs.executor import Job, Result
from nas.networks.imported_ops import ImportedFile, imported_files

_LONGEST_WAIT_S = 5.0


class JobActor:
    """A worker process. Nothing is done before it is asked, so that whatever goes wrong is an answer."""

    _worker: JobWorker

    def prepare(
        self,
        setup: Any,
        make: MakesDoer,
        expected: dict[str, str],
        threads: int,
        imports: tuple[ImportedFile, ...],
    ) -> str | None:
        """Makes what does the jobs; returns why no process could, if that is so."""
        try:
            self._worker = JobWorker(setup, make, program=expected, threads=threads, imports=imports)
        except NasError as fault:
            return str(fault)
        except MemoryError:
            raise  # of this process, at this time
        except Exception as fault:
            return f"{type(fault).__name__}: {fault}"
        return None

    def run(self, job: Job) -> Result:
        return self._worker.run(job)


class ActorWorker:
    """An actor, whether it is one of those without a GPU beside others, and the answer that it owes."""

    def __init__(self, actor: Any, answer: Any, *, further: bool) -> None:
        self.actor, self.answer, self.further = actor, answer, further


class ActorCrew:
    """A `Crew` of actors. Ray restarts none of them: a new one receives all that the old one did.

    Args:
        threads: CPU threads of torch in each.
        cpus: CPUs that each takes of its node; None is one per thread.
        gpus: Part of a GPU that each gets.
        most_with_gpu: How many workers there may be now with that part; further ones have none, and `make_on_cpu`
            makes what does their jobs. None is no further ones.
        check: Raises if the cluster is gone.

    Attributes:
        setup: Where the setup is in Ray's object store; every actor of a node reads the same copy of its arrays.
    """

    def __init__(
        self,
        setup: Any,
        make: MakesDoer,
        *,
        threads: int,
        cpus: int | None = None,
        gpus: float = 0.0,
        most_with_gpu: Callable[[], int] | None = None,
        make_on_cpu: MakesDoer | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.setup = ray.put(setup)
        self._check = check
        self._make, self._threads = make, threads
        # Ray sets OMP_NUM_THREADS to `num_cpus`.
        self._actor: Any = ray.remote(num_cpus=cpus or threads, num_gpus=gpus, max_restarts=0)(JobActor)
        self._with_gpu, self._most_with_gpu, self._make_on_cpu = 0, most_with_gpu, make_on_cpu

    def start(self) -> ActorWorker:
        further = self._most_with_gpu is not None and self._with_gpu >= self._most_with_gpu()
        self._with_gpu += not further
        actor = (self._actor.options(num_gpus=0) if further else self._actor).remote()
        make = self._make_on_cpu if further else self._make
        ready = actor.prepare.remote(self.setup, make, program(), self._threads, imported_files())
        return ActorWorker(actor, ready, further=further)

    def ask(self, worker: ActorWorker, job: Job) -> None:
        worker.answer = worker.actor.run.remote(job)

    def answers(self, workers: list[ActorWorker], timeout_s: float) -> list[tuple[ActorWorker, Answer]]:
        self._check()
        owed = {worker.answer: worker for worker in workers}
        ray.wait(list(owed), num_returns=1, timeout=min(timeout_s, _LONGEST_WAIT_S))
        ready, _ = ray.wait(list(owed), num_returns=len(owed), timeout=0)
        return [(owed[reference], self._read(reference)) for reference in ready]

    def stop(self, worker: ActorWorker) -> None:
        self._with_gpu -= not worker.further
        ray.kill(worker.actor)

    def _read(self, reference: Any) -> Answer:
        try:
            found: Any = ray.get(reference)
        except RayError as fault:
            raise_told(fault)  # no fault of the worker's
            self._check()  # before another worker is asked for: without this node, Ray would end this process
            return Answer(lost=f"The worker was lost: {in_short(fault)}")
        if isinstance(found, str):
            raise RunError(f"Workers cannot be used: {found}")
        return Answer(result=found)
