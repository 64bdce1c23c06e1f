"""The backend that `--workers` and `--ray` ask for: scores and calibrations on actors, finalists by Ray Tune."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import ray

from nas.data.sharing import Arrays
from nas.executors import check_room
from nas.executors.code_version import copied_package
from nas.executors.finalist_relay import FinalistRelay
from nas.executors.head_watch import HeadWatch
from nas.executors.pool import TimeLimit, WorkerPool
from nas.executors.ray.actors import ActorCrew
from nas.executors.ray.data_parallel import processes_for, train_on_actors
from nas.executors.ray.devices import on_a_node_with
from nas.executors.ray.folders import TrainingFolders
from nas.executors.ray.session import asks_for_token, gpu_share, join, node_cpus, own_node, own_ray, room
from nas.executors.silence import quiet
from nas.executors.worker import MakesDoer, SentExport, TrainingSetup, WatchedTraining, made_on_cpu
from nas.formats import count
from nas.jobs.backend import ExportSource, FinalistRecord, ScorerSource
from nas.jobs.executor import Executor, Job, Result
from nas.jobs.setup import make_scorer
from nas.jobs.sharded import ShardedWork
from nas.jobs.training import TrainingJob, TrainingWork
from nas.machine import available_cores
from nas.options import SearchOptions
from nas.progress import Progress, Silent
from nas.training.device import has_device

T = TypeVar("T")
_LOOK_S = 3.0
"""How often a cluster is asked for its size, where workers follow it."""
_EXPORT_S = 60.0
"""What an export is expected to take; the limit is fifty times as long."""


class RayBackend:
    """A `Backend` on workers of this machine, or of a cluster.

    On this machine Ray is started when the first phase needs it. Where Ray runs in this process already, that one is
    used, and left running.

    Args:
        cluster: "auto", or HOST:PORT; None is this machine.
        make: Makes the scorer of its setup, in a worker.
        at_loss: As for `HeadWatch`.
    """

    def __init__(
        self,
        options: SearchOptions,
        *,
        cluster: str | None = None,
        progress: Progress | None = None,
        make: MakesDoer = make_scorer,
        at_loss: Callable[[str], None] | None = None,
    ) -> None:
        self._options, self._cluster, self._make, self._at_loss = options, cluster, make, at_loss
        self._watch: HeadWatch | None = None
        self._progress = progress or Silent()
        self._held = ExitStack()
        self._package: Path | None = None
        self._grows = not isinstance(options.workers, int) and cluster is not None
        alone = available_cores() // options.job_threads - options.cpu_workers if options.workers == "auto" else 0
        self._workers = options.fixed_workers() or alone
        self._looked = (-_LOOK_S, 0.0)

    def prepare(self) -> None:
        if ray.is_initialized():
            return
        self._package = self._held.enter_context(copied_package())
        if self._cluster is None:
            return
        self._held.enter_context(quiet(logger="ray", threads="ray_"))
        address = join(self._cluster, self._package)
        self._held.callback(ray.shutdown)
        self._watch_over()
        threads = self._options.job_threads
        places = room(threads)
        check_room(self._options, places * threads, f"the cluster at {address}")
        self._workers = self._options.fixed_workers() or places
        nodes = count(len(ray.nodes()), "node")
        self._progress.note(f"Ray: {count(self._workers, 'worker')} on the cluster at {address} ({nodes})")
        if not asks_for_token():
            self._progress.note(
                f"Whoever reaches the ports of the cluster at {address} can run programs on it: start Ray with "
                "RAY_AUTH_MODE=token, on loopback or a private interface (docs/security.md)"
            )

    def facts(self) -> dict[str, Any]:
        further = {"cpu_workers": self._options.cpu_workers} if self._options.cpu_workers else {}
        return {"workers": self._workers, "ray": self._cluster or "this machine", **further}

    def scoring(self, source: ScorerSource, *, threads: int, expected_s: float, data_bytes: int) -> Executor:
        def open_pool(_: Sequence[Job]) -> WorkerPool[Any]:
            setup = source.pack()
            self._start(_bytes(setup.arrays) + data_bytes)
            gpus = self._gpus(setup.device)
            if gpus and self._options.cpu_workers:
                self._progress.note(
                    f"{self._options.cpu_workers} workers without a GPU score beside those with one. The last bits of "
                    "a score depend on the device, so other trials may follow each time (--cpu-workers)"
                )
            crew = ActorCrew(
                setup,
                self._make,
                threads=threads,
                gpus=gpus,
                most_with_gpu=partial(self._size, gpus) if gpus else None,
                make_on_cpu=partial(made_on_cpu, make=self._make),
                check=self._check,
            )
            limit = TimeLimit(self._options.job_timeout, expected_s)
            return WorkerPool(crew, size=partial(self._size_with_further, gpus), limit=limit)

        return RayExecutor(open_pool, self._explain)

    def training(self, work: TrainingWork, progress: Progress) -> Executor:
        def open_pool(jobs: Sequence[Job]) -> WorkerPool[Any]:
            setup = TrainingSetup.of(work)
            self._start(_bytes(setup.arrays))
            gpus = self._gpus({job.recipe["device"] for job in jobs if isinstance(job, TrainingJob)}.pop())
            crew = ActorCrew(
                setup,
                partial(
                    WatchedTraining,
                    threads=work.threads,
                    folder_of=TrainingFolders(work.folder.absolute()).of,
                    step_s=self._options.job_timeout,
                ),
                threads=work.threads,
                cpus=_cpus_each(work.threads, self._size(gpus)),
                gpus=gpus,
                check=self._check,
            )
            # A watch of its own ends a training that hangs, however long healthy ones take.
            return WorkerPool(crew, size=partial(self._size, gpus), limit=TimeLimit(math.inf, 0.0))

        return RayExecutor(open_pool, self._explain, progress)

    def train(self, jobs: Sequence[TrainingJob], work: TrainingWork, record: FinalistRecord) -> None:
        if not jobs:
            return
        from nas.executors.ray.finalists import train_by_tune  # late: Tune takes seconds to import

        setup = TrainingSetup.of(work)
        self._start(_bytes(setup.arrays))
        gpus = self._gpus(jobs[0].recipe["device"], most=len(jobs))
        side = min(self._size(gpus), len(jobs))
        work = replace(work, folder=work.folder.absolute(), threads=_cpus_each(work.threads, side))
        self._progress.start("finalists", sum(job.recipe["epochs"] for job in jobs), "epochs")
        try:
            train_by_tune(
                jobs,
                work,
                setup,
                FinalistRelay(record, work, self._progress),
                side=len(jobs) if self._grows else side,  # more of them begin when there is room
                gpus=gpus,
                step_s=self._options.job_timeout,
                check=self._check,
            )
        except Exception as fault:
            self._explain(fault)
            raise
        self._progress.finish()

    def train_sharded(self, work: ShardedWork) -> None:
        if min(work.shards, self._workers) < 2:
            return
        setup = work.pack()
        # Scoring packs the weights and images again, while these may still be there.
        self._start(2 * _bytes(setup.arrays))
        ranks = processes_for(work, self._workers)
        if ranks < 2:
            return
        try:
            train_on_actors(
                replace(work, folder=work.folder.absolute()),
                setup,
                ranks=ranks,
                cpus=self._options.job_threads,
                step_s=self._options.job_timeout,
                check=self._check,
            )
        except Exception as fault:
            self._explain(fault)
            raise

    @contextmanager
    def at_device(
        self, device: str, make: Callable[[], T], fits: Callable[[T], bool] = lambda _: True
    ) -> Generator[T, None, None]:
        if self._cluster is None or has_device(device):
            yield make()
            return
        try:
            with on_a_node_with(device, make, fits, self._check) as there:
                yield there
        except Exception as fault:
            self._explain(fault)
            raise

    def exports(self, source: ExportSource, *, threads: int) -> Executor:
        def open_pool(_: Sequence[Job]) -> WorkerPool[Any]:
            self._start(0)
            crew = ActorCrew(source.facts, SentExport, threads=threads, check=self._check)
            # A limit on scores would end healthy exports, which begin with slow imports.
            return WorkerPool(crew, size=partial(self._size, 0.0), limit=TimeLimit(None, _EXPORT_S))

        return RayExecutor(open_pool, self._explain)

    def close(self) -> None:
        if self._watch is not None:
            self._watch.ending()
        try:
            self._held.close()
        finally:
            if self._watch is not None:
                self._watch.close()

    def _gpus(self, device: str, most: int | None = None) -> float:
        """Returns the part of a GPU that each worker gets, of which there are `most` at most."""
        given = self._options.gpus_per_worker if device.startswith("cuda") else None
        side = max(1, self._size(given or 0.0))
        return gpu_share(device, side if most is None else min(side, most), given)

    def _size(self, gpus: float) -> int:
        """Returns how many workers there may be now, each with a part of a GPU; a cluster is looked at repeatedly."""
        now, (looked, its) = time.monotonic(), self._looked
        if self._grows and (now - looked > _LOOK_S or gpus != its):
            self._looked, before = (now, gpus), self._workers
            self._workers = max(1, room(self._options.job_threads, gpus))
            if self._workers != before:
                self._progress.note(f"Ray: {count(self._workers, 'worker')} now, {before} before, as there is room for")
        return self._workers

    def _size_with_further(self, gpus: float) -> int:
        """Returns how many workers may score now: those of `_size`, and further ones on CPUs that are free of them."""
        size, further = self._size(gpus), self._options.cpu_workers
        return size + (min(further, max(0, room(self._options.job_threads) - size)) if self._grows else further)

    def _check(self) -> None:
        """Raises `ClusterError` once the cluster is gone."""
        if self._watch is not None:
            self._watch.check()

    def _explain(self, fault: Exception) -> None:
        """Raises `ClusterError` if a fault comes of the cluster being gone."""
        if self._watch is not None:
            self._watch.explain(fault)

    def _start(self, array_bytes: int) -> None:
        """Has Ray running from here on, until the backend is closed."""
        if ray.is_initialized():
            return
        self._held.enter_context(quiet(logger="ray", threads="ray_"))
        self._held.enter_context(own_ray(array_bytes, self._package))
        self._watch_over()

    def _watch_over(self) -> None:
        """Watches what Ray needs to go on, until it is shut down."""
        self._watch = HeadWatch(ray.get_runtime_context().gcs_address, self._at_loss, node=own_node())


class RayExecutor:
    """An `Executor` whose workers start when the first job comes.

    Args:
        explain: Raises if a fault comes of the cluster being gone.
        progress: Shows how many are done, if whoever asks for them does not.
    """

    def __init__(
        self,
        open_pool: Callable[[Sequence[Job]], WorkerPool[Any]],
        explain: Callable[[Exception], None],
        progress: Progress | None = None,
    ) -> None:
        self._open_pool, self._explain, self._progress = open_pool, explain, progress or Silent()
        self._pool: WorkerPool[Any] | None = None

    def map(self, jobs: Iterable[Job]) -> Iterator[Result]:
        jobs = list(jobs)
        return self._results(jobs, len(jobs), lambda pool: pool.map(jobs))

    def completed(self, ask: Callable[[int], Sequence[Job]], most: int) -> Iterator[tuple[int, Result]]:
        first = list(ask(min(most, 1)))  # before any worker is started, which there may be nothing for
        known = deque(first)

        def further(free: int) -> list[Job]:
            begun = [known.popleft() for _ in range(min(free, len(known)))]
            return [*begun, *(ask(free - len(begun)) if free > len(begun) else [])]

        return self._results(first, most, lambda pool: pool.completed(further, most))

    def _results(
        self, jobs: Sequence[Job], most: int, results: Callable[[WorkerPool[Any]], Iterator[T]]
    ) -> Iterator[T]:
        """Yields the results of a pool, which is opened if there is work.

        Args:
            jobs: Those that are known now.
            most: How many jobs there are at most.
        """
        try:
            if jobs and self._pool is None:
                self._pool = self._open_pool(jobs)
            if self._pool is None:
                return
            self._progress.start("trainings", most, "networks")
            for result in results(self._pool):
                self._progress.advance()
                yield result
            self._progress.finish()
        except Exception as fault:
            self._explain(fault)
            raise

    def close(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.close()


def _cpus_each(threads: int, side: int) -> int:
    """The most CPUs, up to its threads, that each of `side` trainings can have on the nodes there are."""
    nodes = node_cpus()
    return max((each for each in range(1, threads + 1) if sum(cpus // each for cpus in nodes) >= side), default=1)


def _bytes(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())
