"""Where jobs run beyond this process. Only the package `nas.executors.ray` imports Ray, and it is imported late."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from nas.errors import OptionError
from nas.machine import available_cores
from nas.options import SearchOptions
from nas.progress import Progress

if TYPE_CHECKING:
    from nas.jobs.backend import Backend

# What Ray reads when it is imported. Its C++ part warns on standard error of every try to connect. Workers of this
# machine's own, and those of a cluster on its loopback interface, are to talk over that; on Linux Ray would take the
# network's address.
_TERSE = {"RAY_BACKEND_LOG_LEVEL": "error", "RAY_DEDUP_LOGS": "0"}  # what is held back is printed at the end
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def wants_ray(options: SearchOptions) -> bool:
    """Whether the options ask for workers."""
    return bool(options.workers) or options.ray is not None


def cluster_of(options: SearchOptions) -> str | None:
    """The cluster that the workers are to run on: the one named, else, as inside a Ray job, the environment's."""
    if options.ray is None and os.environ.get("RAY_ADDRESS"):
        return "auto"
    return options.ray


def check_workers(options: SearchOptions) -> None:
    """Finds out what can be known at once, without importing Ray.

    Raises:
        OptionError: If Ray is not installed, there are fewer CPUs than the workers need, or an option needs workers.
    """
    if not wants_ray(options):
        if options.cpu_workers:
            raise OptionError(f"--cpu-workers {options.cpu_workers} only help other workers: give --workers or --ray.")
        if options.asynchronous:
            raise OptionError("--asynchronous: without workers nothing waits. Give --workers, or leave it out.")
        if options.job_timeout is not None:
            raise OptionError(
                f"--job-timeout {options.job_timeout}: only a worker can be stopped. Give --workers, or leave it out."
            )
        if options.gpus_per_worker is not None:
            raise OptionError(
                f"--gpus-per-worker {options.gpus_per_worker}: there are no workers. Give --workers, or leave it out."
            )
        return
    given = f"--workers {options.workers}" if options.workers else f"--ray {options.ray}"
    if find_spec("ray") is None:
        raise OptionError(f"{given} needs Ray: pip install 'ray[tune]', or use --workers 0.")
    check_room(options, available_cores() if cluster_of(options) is None else None, "this machine")


def check_room(options: SearchOptions, cpus: int | None, where: str) -> None:
    """Refuses more workers than there are CPUs for; `cpus` is None where that is not known yet.

    Raises:
        OptionError: If there is no room for all.
    """
    needed = ((options.fixed_workers() or 1) + options.cpu_workers) * options.job_threads
    if cpus is not None and needed > cpus:
        further = f" --cpu-workers {options.cpu_workers}" if options.cpu_workers else ""
        each = f" of {options.job_threads} threads" if options.job_threads > 1 else ""
        most = cpus // options.job_threads
        most_words = f"{most} of both" if further else f"--workers {most}"
        remedy = f"Give at most {most_words}." if most else f"Give at most --job-threads {cpus}."
        if not cpus:
            remedy = "Give fewer --job-threads, or add nodes with CPUs."
        asked = f"--workers {options.workers or 'auto'}{further}"
        raise OptionError(f"{asked}: {where} has {cpus} CPUs for workers{each}. {remedy}")


def check_cluster(options: SearchOptions) -> None:
    """Finds out whether the cluster that the options name answers, without importing Ray.

    Raises:
        OptionError: If not.
    """
    cluster = cluster_of(options)
    if wants_ray(options) and cluster is not None:
        from nas.executors.address import find_address

        find_address(cluster)


@contextmanager
def open_backend(
    options: SearchOptions, progress: Progress | None = None, at_loss: Callable[[str], None] | None = None
) -> Generator[Backend | None, None, None]:
    """What `nas.search(…, backend=…)` takes, None being this process; what was started for it ends with the block.

    Args:
        at_loss: Called, in another thread, with what happened if the cluster is gone and this one waits for it within
            Ray. Otherwise `nas.executors.head_watch.ClusterError` is raised.

    Raises:
        OptionError: If workers are asked for that cannot be had.
    """
    check_workers(options)
    if not wants_ray(options):
        yield None
        return
    for name, value in {**_TERSE, **(_LOOPBACK if _is_here(cluster_of(options)) else {})}.items():
        os.environ.setdefault(name, value)
    from nas.executors.ray.backend import RayBackend

    backend = RayBackend(options, cluster=cluster_of(options), progress=progress, at_loss=at_loss)
    try:
        yield backend
    finally:
        backend.close()


def _is_here(cluster: str | None) -> bool:
    """Whether workers talk over this machine's loopback interface."""
    if cluster is None:
        return True
    from nas.executors.address import find_address, is_on_loopback

    return is_on_loopback(find_address(cluster))
