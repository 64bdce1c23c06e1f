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
DISK_BYTES = 128 * 2**20
METHODS = ("sharded", "supernet", "calibrated")
ON_WORKERS = ("sharded", "calibrated")
"""The methods whose training is on workers: the shards of a supernet's batches, and calibrations."""
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
        return self.kind == "clock_back" or self.kind.rpartition("_")[0] in _PARTS

    @property
    def changes_results(self) -> bool:
        """Whether a network may fail by it, so that the run does not end as an undisturbed one."""
        return self.kind == "worker_nan"

    @property
    def needs_cluster(self) -> bool:
        """Whether it is done to a part of the cluster."""
        return self.breaks_cluster or self.kind in _WORKER


@dataclass(frozen=True, slots=True)
class Run:
    """An early and a late fault, and the method of the search that suffers them."""

    faults: tuple[Fault, ...]
    method: str


def every_fault() -> list[tuple[Fault, str]]:
    """Every fault in every phase in which it can happen, with the method that it needs, "" for any.

    The export runs in the driver, and so does the training of an undivided supernet: no worker can suffer there.
    """
    found: list[tuple[Fault, str]] = []
    for kind in KINDS:
        for phase in PHASES:
            if kind not in _WORKER:
                found.append((Fault(kind, phase), ""))
            elif phase != EXPORT:
                found += [(Fault(kind, phase), method) for method in (ON_WORKERS if phase == TRAINING else ("",))]
    return found


def schedule(runs: int, seed: int) -> list[Run]:
    """Returns what each run suffers: each kind of fault in the first 10 runs, each in each phase in the first 40."""
    rng = random.Random(seed)
    early, late = _in_turns((TRAINING, SEARCH)), _in_turns((FINALISTS, EXPORT))
    late = late[8:] + late[:8]  # never two faults of the same part
    while len(late) < runs:
        late.append(rng.choice(late))
    while len(early) < runs:
        early.append(rng.choice(early))
    return [
        Run((first, second), method or METHODS[number % len(METHODS)])
        for number, ((first, method), (second, _)) in enumerate(zip(early[:runs], late[:runs], strict=True))
    ]


def _in_turns(phases: tuple[str, ...]) -> list[tuple[Fault, str]]:
    """The faults of some phases, one of each kind in turn."""
    turns: dict[int, list[tuple[Fault, str]]] = {}
    for place, kind in enumerate(KINDS):
        mine = [each for each in every_fault() if each[0].kind == kind and each[0].phase in phases]
        for turn, each in enumerate(mine[:: -1 if place % 2 else 1]):
            turns.setdefault(turn, []).append(each)
    return [each for turn in turns.values() for each in turn]


# -- doing them -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a fault is done to.

    Attributes:
        run: The run's folder.
        token: See `faulty.py`.
        clock: While this file exists, the clocks of the driver and the cluster are behind; see `clock.c`.
        since: Bytes of the record when the driver started.
        trainings: That are side by side in the method's phase, each with a folder of checkpoints.
    """

    run: Path
    driver: subprocess.Popen[bytes]
    cluster: Cluster
    token: Path
    clock: Path
    since: int
    trainings: int

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
    if fault.kind == "worker_stop" and not _has_begun(fault.phase, scene):
        return False  # a training may take ten minutes to its first step
    if target == "worker":
        return bool(scene.cluster.workers())
    return target not in _PARTS or bool(scene.cluster.processes(*_PARTS[target]))


def _has_begun(phase: str, scene: Scene) -> bool:
    """Whether a training of a phase has done steps in this session; True for a phase that trains nothing."""
    if phase == FINALISTS:
        return scene.recorded(b'"event":"finalist_epoch"')
    return phase != TRAINING or len({path.parent for path in checkpoints(scene.run)}) >= scene.trainings


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
