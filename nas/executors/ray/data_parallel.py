"""One training on several actors, which share the shards of each batch in a process group of torch's.

Ray Train is not used: it ties the number of shards to that of processes, and restores from checkpoints of its own.
Here every process reads the training's own checkpoints, so that any other number of processes, or one alone, goes on.
If a process is lost, all of them are ended and as many started again, at the last checkpoint.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError

from nas.errors import RunError, TrainingError
from nas.executors.code_version import program
from nas.executors.pool import RETRIES, START_S
from nas.executors.ray.keeping import mirrored, start_keeper
from nas.executors.ray.session import in_short
from nas.executors.shard_worker import LOOPBACK, ShardPlace, ShardWorker
from nas.executors.temp_folders import scratch
from nas.jobs.sharded import ShardedSetup, ShardedWork
from nas.networks.imported_ops import imported_files
from nas.training.checkpoint import newest

_WAIT_S = 5.0
_ENDING_S = 5.0
_LOOK_S = 0.02


def processes_for(work: ShardedWork, workers: int) -> int:
    """Returns how many processes are to train: no more than there are shards, or GPUs where it trains on these."""
    most = min(work.shards, workers)
    return min(most, int(ray.cluster_resources().get("GPU", 0.0))) if work.device.startswith("cuda") else most


def train_on_actors(
    work: ShardedWork,
    setup: ShardedSetup,
    *,
    ranks: int,
    cpus: int,
    step_s: float | None,
    check: Callable[[], None],
) -> None:
    """Trains to the end, on as many actors as there are ranks.

    Args:
        cpus: That each actor asks for.
        step_s: As for `ShardPlace`.
        check: Raises if the cluster is gone.

    Raises:
        TrainingError: If the training cannot go on.
        RunError: If actors cannot be started, or too many are lost without a checkpoint in between.
    """
    home = ray.get_runtime_context().get_node_id()
    keeper = start_keeper(work.folder, home)
    shared, lost, before = ray.put(setup), 0, newest(work.folder)
    while True:
        try:
            team = _Team(ranks, cpus=cpus, gpus=1 if work.device.startswith("cuda") else 0)
            try:
                team.train(work, shared, home, keeper, step_s=step_s, check=check)
            finally:
                team.end()
            break
        except RayError as fault:
            check()
            now = newest(work.folder)
            lost = lost + 1 if now == before else 1
            before, reason = now, in_short(fault)
            if lost > RETRIES:
                raise RunError(
                    f"The training of the {work.phase} was given up after {lost} tries with no checkpoint in between: "
                    f"{reason} Go on with --resume and --workers 0."
                ) from None
            onward = "starting again" if now is None else f"going on from {now.name}"
            work.progress.note(f"The training of the {work.phase} lost a process: {reason} All are replaced, {onward}")
            work.progress.finish()
    work.progress.finish()


class ShardActor:
    """One process of a training. It answers while it trains, so it runs two methods at a time."""

    def __init__(self) -> None:
        self._worker = ShardWorker()

    def place(self) -> tuple[str, str, int]:
        """Returns the node that it runs on, its address, and the process."""
        return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address(), os.getpid()

    def open(self, host: str, ranks: int) -> tuple[str, int]:
        return self._worker.open(host, ranks)

    def train(self, setup: ShardedSetup, place: ShardPlace, folder: Path, home: str, keeper: Any) -> str | None:
        if ray.get_runtime_context().get_node_id() == home:
            return self._worker.train(setup, place, folder, None)
        with scratch("shards") as local:
            mirror = mirrored(keeper, "", local)
            return self._worker.train(setup, place, mirror.folder, mirror.send if place.rank == 0 else None)

    def collect(self, recorded: int) -> Any:
        return self._worker.mailbox.collect(recorded)


class _Team:
    """Actors that train together, the first of them in the lead."""

    def __init__(self, ranks: int, *, cpus: int, gpus: int) -> None:
        asked: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0, "max_concurrency": 2}
        kind: Any = ray.remote(**asked)(ShardActor)
        self._actors: list[Any] = [kind.options(scheduling_strategy="SPREAD").remote() for _ in range(ranks)]
        self._running: list[Any] = []
        self._here: list[int] = []

    def train(
        self,
        work: ShardedWork,
        setup: Any,
        home: str,
        keeper: Any,
        *,
        step_s: float | None,
        check: Callable[[], None],
    ) -> None:
        """Trains to the end, and passes on what the first actor tells.

        Raises:
            RayError: If one is lost.
            TrainingError, RunError: As `train_on_actors`.
        """
        places = self._started()
        self._here = [process for node, _, process in places if node == home]
        host = LOOPBACK if len({node for node, _, _ in places}) == 1 else places[0][1]
        store: Any = ray.get(self._actors[0].open.remote(host, len(self._actors)), timeout=START_S)
        for rank, actor in enumerate(self._actors):
            place = ShardPlace(
                shards=work.shards,
                rank=rank,
                ranks=len(self._actors),
                store=store,
                device=work.device,
                threads=work.threads,
                program=program(),
                imports=imported_files(),
                step_s=step_s,
            )
            self._running.append(actor.train.remote(setup, place, work.folder, home, keeper))
        self._listen(work, check)

    def end(self) -> None:
        """Ends all of them, and waits for those on this node to be gone: Ray calls actors dead before they are."""
        for actor in self._actors:
            ray.kill(actor)
        if self._running:
            ray.wait(self._running, num_returns=len(self._running), timeout=_ENDING_S)
        began = time.monotonic()
        while any(map(_exists, self._here)) and time.monotonic() - began < _ENDING_S:
            time.sleep(_LOOK_S)

    def _started(self) -> Sequence[tuple[str, str, int]]:
        asked = [actor.place.remote() for actor in self._actors]
        ready, _ = ray.wait(asked, num_returns=len(asked), timeout=START_S)
        if len(ready) < len(asked):
            raise RunError(
                f"Only {len(ready)} of {len(asked)} processes that train could be started within {START_S:.0f} s. "
                "Go on with --resume and --workers 0."
            )
        return ray.get(asked)

    def _listen(self, work: ShardedWork, check: Callable[[], None]) -> None:
        """Records what the first actor tells, until all are done."""
        recorded, running, leader = 0, list(self._running), self._actors[0]
        asked = leader.collect.remote(0)
        while running:
            check()
            ready, _ = ray.wait([*running, asked], num_returns=1, timeout=_WAIT_S)
            for reference in ready:
                if reference == asked:
                    news = self._get(asked)
                    for told in news.told:
                        work.tell(told)
                    recorded += len(news.told)
                    news.show(work.progress)
                    asked = leader.collect.remote(recorded)
                else:
                    running.remove(reference)
                    reason = self._get(reference)
                    if reason is not None:
                        raise TrainingError(reason)

    def _get(self, reference: Any) -> Any:
        """Returns an answer. If there is none, says which actor is lost rather than who was waiting for it."""
        try:
            return ray.get(reference)
        except RayError:
            began, left = time.monotonic(), [*self._running]
            while left and time.monotonic() - began < _WAIT_S:
                ready, left = ray.wait(left, num_returns=1, timeout=_WAIT_S)
                for each in ready:
                    try:
                        ray.get(each)
                    except ActorDiedError:
                        raise
                    except RayError:
                        continue
            raise


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
