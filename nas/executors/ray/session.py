"""Ray itself: started on this machine for as long as it is needed, or a cluster that this process joins."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Any

import ray

from nas.errors import NasError, OptionError, RunError
from nas.executors.address import find_address
from nas.executors.silence import environment, no_standard_error
from nas.executors.temp_folders import scratch
from nas.run.signals import rearm

# What Ray wants beside our arrays.
_STORE_BYTES = 80 * 2**20


@contextmanager
def own_ray(array_bytes: int, package: Path | None = None) -> Generator[None, None, None]:
    """Ray on this machine alone, with room for the arrays; its processes and files are gone afterwards.

    Args:
        package: A folder in which workers find this package, before any other.

    Raises:
        RunError: If it does not start.
    """
    # The mode is Ray's to set, so that it takes notice; here it is only put back.
    settings: dict[str, str | None] = {"RAY_AUTH_MODE": None, "RAY_AUTH_TOKEN": _token()}
    if os.environ.get("RAY_AUTH_MODE"):
        settings = {}
    if package is not None:
        settings["PYTHONPATH"] = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH"))))
    # Its sockets' names may have 107 characters, and a TMPDIR of the user's takes too many of them.
    with scratch("ray", "/tmp" if os.path.isdir("/tmp") else None) as folder, environment(settings):
        try:
            try:
                with no_standard_error():
                    _init(
                        address="local",
                        include_dashboard=False,
                        object_store_memory=_STORE_BYTES + int(1.1 * array_bytes),
                        _temp_dir=str(folder),
                    )
            except Exception as fault:
                raise RunError(f"Ray did not start: {in_short(fault)} Go on with --resume and --workers 0.") from fault
            yield
        finally:
            ray.shutdown()


def join(cluster: str, package: Path) -> str:
    """Makes this process a part of a cluster; returns the address.

    Args:
        cluster: "auto", or HOST:PORT.
        package: A folder with this package, which is sent to every node.

    Raises:
        OptionError: If there is none, or one of another version of Ray or Python.
    """
    address = find_address(cluster)
    modules = {"py_modules": [str(package / "nas")]}
    try:
        with no_standard_error():
            # Asked for "auto", Ray also finds the token of a cluster of this machine's.
            _init(address="auto" if cluster == "auto" else address, runtime_env=modules)
    except Exception as fault:
        ray.shutdown()
        raise OptionError(
            f"--ray {cluster}: {in_short(fault)} Run nas-search on a node of the cluster (ray job submit does), with "
            "RAY_AUTH_MODE=token if the cluster wants a token, leave --ray out, or resume with --workers 0."
        ) from None
    return address


def own_node() -> str:
    """Returns HOST:PORT at which the node that this process is a part of answers."""
    mine = ray.get_runtime_context().get_node_id()
    node = next(node for node in ray.nodes() if node["NodeID"] == mine)
    return f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"


def asks_for_token() -> bool:
    """Whether what this process joined is used with a token; Ray sets the mode itself where it finds one."""
    return os.environ.get("RAY_AUTH_MODE", "").lower() == "token"


def node_cpus() -> list[int]:
    """The CPUs of each node that is alive and has any."""
    return [cpus for node in ray.nodes() if node["Alive"] and (cpus := int(node["Resources"].get("CPU", 0))) > 0]


def room(threads: int, gpus: float = 0.0) -> int:
    """Returns how many workers the nodes that are alive have room for.

    Args:
        threads: CPUs that each takes.
        gpus: Part of a GPU that each takes.
    """
    places = 0
    for node in ray.nodes():
        if node["Alive"]:
            its: dict[str, float] = node["Resources"]
            here = int(its.get("CPU", 0.0)) // threads
            places += min(here, int(its.get("GPU", 0.0) / gpus + 1e-9)) if gpus else here
    return places


def gpu_share(device: str, side: int, given: float | None = None) -> float:
    """What each of `side` jobs gets of the GPUs there are, where they run on GPUs.

    Args:
        given: What it is to be, rather than an equal part.

    Raises:
        OptionError: If there are not enough GPUs for that.
    """
    if not device.startswith("cuda"):
        return 0.0
    gpus = ray.cluster_resources().get("GPU", 0.0)
    if given is None:
        each = math.ceil(side / gpus) if gpus else 0  # on one GPU at most
        return int(1000 / each) / 1000 if each else 0.0
    # A share is of one GPU: what is left of each cannot be put together.
    if side > int(gpus) * int(1 / given + 1e-9):
        few = "Give a smaller part or fewer --workers." if gpus >= 1 else "Leave it out, or give --device cpu."
        raise OptionError(f"--gpus-per-worker {given}: {gpus:.0f} GPUs are too few for {side} workers. {few}")
    return given


def raise_told(fault: Exception) -> None:
    """Raises what a task said by an error of this package, if its fault is one; it is no loss of a process."""
    if isinstance(cause := getattr(fault, "cause", None), NasError):
        raise cause from None


def in_short(said: BaseException | str) -> str:
    """The part of Ray's words that says what happened, as one sentence on one line."""
    if isinstance(said, BaseException):
        cause = getattr(said, "cause", None) or said  # what a task raised, without the traceback around it
        said = str(cause).strip() or type(cause).__name__
    if "Worker exit detail: " in said:
        said = said.rpartition("Worker exit detail: ")[2].partition(" Some common causes include")[0]
    elif said.count("\n") > 3:
        said = said.strip().splitlines()[-1]  # of a traceback
    return f"{' '.join(said.split())[:240].rstrip('.')}."


@cache
def _token() -> str:
    """A secret that whoever talks to our own Ray must know.

    Left alone, Ray writes one to the user's home, where it changes how other clusters start.
    """
    return token_hex(32)


def _init(**given: Any) -> None:
    with warnings.catch_warnings():
        # On what Ray will do in another version; nothing that the user could fix.
        warnings.simplefilter("ignore", FutureWarning)
        ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **given)
    rearm()  # Ray has a handler for SIGTERM of its own
