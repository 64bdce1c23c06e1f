"""The faults that runs on a cluster suffer, which run suffers which, and how each is done.

A fault ends the driver, breaks the cluster, or leaves both as they are; see `Fault.ends_driver` and `breaks_cluster`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cluster import HEAD, SECOND, Cluster

TRAINING, SEARCH, FINALISTS, EXPORT = PHASES = ("training", "search", "finalists", "export")
"""The phases of a run; the first is that of its method."""
STOPPED_S = 20.0
"""How long a stopped driver rests; everything else that is stopped is never continued."""
DISK_BYTES = 64 * 2**20
_WORKER = ("worker_kill", "worker_stop", "worker_nan", "worker_oom")
_DAMAGE = ("checkpoint_flipped", "checkpoint_truncated", "checkpoint_deleted")
KINDS = (
    *("driver_kill", "worker_kill", "raylet_kill", "head_kill", "disk_full", "checkpoint_flipped", "worker_nan"),
    *("driver_raylet_kill", "clock_back", "driver_stop", "worker_stop", "raylet_stop", "head_stop", "torn_line"),
    *("checkpoint_truncated", "worker_oom", "driver_raylet_stop", "checkpoint_deleted"),
)
# The program that a fault is done to, and on which node: the driver talks to the head's raylet.
_PARTS = {"raylet": ("raylet", SECOND), "driver_raylet": ("raylet", HEAD), "head": ("gcs_server", HEAD)}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault in one phase."""

    kind: str
    phase: str

    def __str__(self) -> str:
        return f"{self.kind}@{self.phase}"

    @property
    def ends_driver(self) -> bool:
        """Whether the driver is killed by it."""
        return self.kind in ("driver_kill", "torn_line", *_DAMAGE)

    @property
    def breaks_cluster(self) -> bool:
        """Whether the cluster is started again before the run goes on on it."""
        return self.kind.rpartition("_")[0] in _PARTS

    @property
    def changes_results(self) -> bool:
        """Whether a network may fail by it, so that the run does not end as an undisturbed one."""
        return self.kind == "worker_nan"

    @property
    def needs_cluster(self) -> bool:
        """Whether it is done to a part of the cluster."""
        return self.breaks_cluster or self.kind in _WORKER


def every_fault() -> list[Fault]:
    """Every fault in every phase in which it can happen: no worker trains the method's part, or exports."""
    return [
        Fault(kind, phase) for kind in KINDS for phase in PHASES if kind not in _WORKER or phase in (SEARCH, FINALISTS)
    ]


def schedule(runs: int, seed: int) -> list[tuple[Fault, Fault]]:
    """Returns two faults for each run, an early and a late one: each kind in the first 10 runs, each fault in 32."""
    every = every_fault()

    def ordered(first: str, second: str) -> list[Fault]:
        turns: tuple[list[Fault], list[Fault]] = ([], [])
        for place, kind in enumerate(KINDS):
            mine = [fault for fault in every if fault.kind == kind and fault.phase in (first, second)]
            for turn, fault in enumerate(mine[:: -1 if place % 2 else 1]):
                turns[turn].append(fault)
        return [*turns[0], *turns[1]]

    early, late = ordered(TRAINING, SEARCH), ordered(FINALISTS, EXPORT)
    late = late[8:] + late[:8]  # never two faults of the same part
    rng = random.Random(seed)
    pairs = list(zip(early, late, strict=True))
    while len(pairs) < runs:
        pairs.append((rng.choice(early), rng.choice(late)))
    return pairs[:runs]


# -- doing them -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a fault is done to.

    Attributes:
        run: The run's folder.
        token: See `faulty.py`.
        clock: While this file exists, the driver's clock is behind; see `clock.c`.
        since: Bytes of the record when the driver started.
    """

    run: Path
    driver: subprocess.Popen[bytes]
    cluster: Cluster
    token: Path
    clock: Path
    since: int

    def recorded(self, words: bytes) -> bool:
        """Whether the driver has recorded a line with these words."""
        with (self.run / "events.jsonl").open("rb") as file:
            file.seek(self.since)
            return words in file.read()

    @property
    def filler(self) -> Path:
        return self.run.parent / "filler"


def is_ready(fault: Fault, scene: Scene) -> bool:
    """Whether there is what the fault is done to: a worker, a checkpoint, a node."""
    target = fault.kind.rpartition("_")[0]
    if fault.kind in _DAMAGE:
        return bool(checkpoints(scene.run))
    if fault.kind == "worker_stop" and fault.phase == FINALISTS and not scene.recorded(b'"event":"finalist_epoch"'):
        return False  # a training may take ten minutes to its first step
    if target == "worker":
        return bool(scene.cluster.workers())
    return target not in _PARTS or bool(scene.cluster.processes(*_PARTS[target]))


def do(fault: Fault, scene: Scene, rng: random.Random) -> None:
    """Does a fault; where it ends the driver, what is to be damaged is damaged once the driver is gone."""
    target, _, deed = fault.kind.rpartition("_")
    if fault.ends_driver:
        scene.driver.send_signal(signal.SIGKILL)
        scene.driver.wait()
        _damage(fault, scene)
    elif fault.kind == "driver_stop":
        scene.driver.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_S)
        scene.driver.send_signal(signal.SIGCONT)
    elif fault.kind == "disk_full":
        fill(scene.filler)
    elif fault.kind == "clock_back":
        scene.clock.touch()
    elif fault.kind in ("worker_nan", "worker_oom"):
        scene.token.write_text(deed)
    else:
        number = signal.SIGSTOP if deed == "stop" else signal.SIGKILL
        processes = scene.cluster.workers() if target == "worker" else scene.cluster.processes(*_PARTS[target])
        with suppress(ProcessLookupError):
            os.kill(rng.choice(processes), number)


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, the last written first."""
    found: list[tuple[float, Path]] = []
    for path in run.glob("*/**/step-*.safetensors"):
        with suppress(OSError):
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]


def fill(filler: Path) -> None:
    """Takes all that is left of a small disk."""
    with filler.open("ab", buffering=0) as file:
        for size in (2**20, 4096, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass


def _damage(fault: Fault, scene: Scene) -> None:
    if fault.kind == "torn_line":
        record = scene.run / "events.jsonl"
        line = record.read_bytes().splitlines()[-1]
        with record.open("ab") as file:
            file.write(line[: len(line) // 2])
    if fault.kind not in _DAMAGE:
        return
    path = checkpoints(scene.run)[0]
    content = bytearray(path.read_bytes())
    if fault.kind == "checkpoint_flipped":
        content[len(content) // 2] ^= 0x40
        path.write_bytes(content)
    elif fault.kind == "checkpoint_truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.unlink()
