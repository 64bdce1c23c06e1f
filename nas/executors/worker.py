"""What a worker process does. It receives all it needs as plain data and shared arrays, and does not import Ray."""

from __future__ import annotations

import faulthandler
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from nas.architecture import Architecture
from nas.data.sharing import Arrays, pack_data, to_array, to_tensor, unpack_data
from nas.errors import NasError, TrainingError
from nas.executors import watchdog
from nas.executors.code_version import refusal
from nas.executors.temp_folders import scratch
from nas.export.job import ExportJob, ExportTask
from nas.jobs.executor import Job, Result, Scorer, Task, run_job
from nas.jobs.setup import ScoringSetup
from nas.jobs.training import Beginnings, TrainingJob, TrainingWork, train_until
from nas.networks.imported_ops import ImportedFile, import_files, imported_files
from nas.progress import Silent
from nas.training import Recipe, train_network
from nas.training.freed_memory import keep_freed_memory

STEP_S = 600.0
"""A training that does no step in so long hangs; so does one that takes longer to its first step."""
LEAST_STEP_S = 60.0
"""The least time that an option may leave for a step: between two, an epoch may be measured and saved."""

MakesDoer = Callable[[Any], Scorer | Task]
"""Makes what does the jobs of a setup."""
AfterSave = Callable[[], None] | None
FolderOf = Callable[[str], AbstractContextManager[tuple[Path, AfterSave]]]
"""Lends a network's folder of checkpoints by its digest, and what is to be called once one is written there."""
Tell = Callable[[dict[str, Any]], None]


class JobWorker:
    """Does one job after another, by what it makes of a setup.

    Args:
        program: What the process that sent the setup runs; workers of another version are refused.
        imports: The files of ops that it has imported.
        threads: CPU threads of torch.
    """

    def __init__(
        self,
        setup: Any,
        make: MakesDoer,
        *,
        program: dict[str, str],
        threads: int,
        imports: Sequence[ImportedFile] = (),
    ) -> None:
        refused = refusal(program)
        if refused is not None:
            raise NasError(refused)
        torch.set_num_threads(threads)
        keep_freed_memory()
        import_files(imports)
        self._doer = make(setup)

    def run(self, job: Job) -> Result:
        """What came of a job."""
        return run_job(self._doer, job)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingSetup:
    """What all networks train on and with: plain data, arrays that processes of one machine share, files of ops."""

    facts: dict[str, Any]
    arrays: Arrays
    beginnings: dict[str, Any] = field(default_factory=dict)
    imports: tuple[ImportedFile, ...] = ()

    @classmethod
    def of(cls, work: TrainingWork) -> TrainingSetup:
        facts, arrays = pack_data(work.data)
        return cls(facts=facts, arrays=arrays, beginnings=_packed(work.beginnings), imports=imported_files())


class WatchedTraining:
    """A `Task` that trains networks up to some epoch, as the driver would; its process is ended when it hangs.

    Args:
        threads: Of the driver's training, which the last bits of the weights depend on.
        folder_of: Lends the folder of a network's checkpoints.
        step_s: As for `train_finalist`.
    """

    def __init__(self, setup: TrainingSetup, *, threads: int, folder_of: FolderOf, step_s: float | None) -> None:
        self._folder_of, self._step_s = folder_of, step_s
        self._work = TrainingWork(
            data=unpack_data(setup.facts, setup.arrays),
            folder=Path(),
            threads=threads,
            beginnings=_unpacked(setup.beginnings),
        )

    def run(self, job: Job) -> Result:
        assert isinstance(job, TrainingJob)
        with self._folder_of(job.digest) as (folder, after_save), _watched(self._step_s) as watched:
            return train_until(job, self._work, folder=folder, progress=watched, after_save=after_save)


def made_on_cpu(setup: ScoringSetup, make: MakesDoer) -> Scorer | Task:
    """Makes what does the jobs of a setup for GPUs in a process without one: it computes on the CPU."""
    return make(setup.on("cpu"))


class SentExport:
    """A `Task` that exports networks where the run's folder may not be, and sends the files."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self._facts = facts

    def run(self, job: Job) -> Result:
        assert isinstance(job, ExportJob)
        with scratch("export") as place:
            winners = place / "winners"  # a card names its folder and the one around it
            result = ExportTask(self._facts, winners).run(job)
            return replace(result, value=result.value.packed(winners / job.name))


def train_finalist(
    job: TrainingJob,
    setup: TrainingSetup,
    folder: Path,
    tell: Tell,
    *,
    threads: int,
    step_s: float | None,
    after_save: AfterSave,
) -> None:
    """Trains one finalist from its last checkpoint in `folder` to the end.

    `tell` hears of every epoch (its row); of the last one only once the trained weights are in the folder, with
    `finished`. A training that diverged says so as `failed`, one that cannot go on in this place as `refused`.

    Args:
        step_s: The process is ended when no step is done in so long, but not below `LEAST_STEP_S`. The first step may
            take `STEP_S` in any case.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()
    import_files(setup.imports)
    recipe = Recipe.from_dict(job.recipe)
    beginnings = _unpacked(setup.beginnings)
    architecture = Architecture.from_dict(job.architecture)
    network = beginnings.network(architecture, digest=job.digest, seed=recipe.seed)
    last: dict[str, Any] = {"epoch": recipe.epochs, "epochs": recipe.epochs, "loss": None, "seconds": 0.0}

    def on_epoch(row: dict[str, Any]) -> None:
        nonlocal last
        if row["epoch"] < recipe.epochs:
            tell(row)
        else:
            last = row

    with _watched(step_s) as watched:
        try:
            accuracy = train_network(
                network,
                unpack_data(setup.facts, setup.arrays),
                recipe,
                progress=watched,
                folder=folder,
                metric=job.metric,
                on_epoch=on_epoch,
                validate=range(1, recipe.epochs + 1),
                after_save=after_save,
                teacher=beginnings.taught_by(),
            )
        except NasError as fault:
            # What is wrong with the training ends it for good; what is wrong with its place, such as a full disk, ends
            # the search, which can go on from here.
            kind = "failed" if isinstance(fault, TrainingError) else "refused"
            tell({**last, "epoch": 0, "validation_accuracy": 0.0, kind: str(fault)})
            return
    tell({**last, "validation_accuracy": accuracy, "finished": True})


class Watched(Silent):
    """Has this process ended, if it can with a traceback on standard error, when no step is done for too long.

    A process of its own keeps the watch: this one may be stopped.

    Args:
        seconds: Between two steps.
        start_s: Before the first step.
    """

    def __init__(self, seconds: float, *, start_s: float | None = None) -> None:
        self._seconds, self._start_s = seconds, start_s or seconds
        self._told = 0.0
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Watched:
        if not faulthandler.is_enabled():
            faulthandler.enable(file=sys.__stderr__ or sys.stderr)
        command = [sys.executable, "-I", watchdog.__file__, str(self._start_s)]
        self._watchdog = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0)
        return self

    def __exit__(self, *_: object) -> None:
        watching, self._watchdog = self._watchdog, None
        if watching is not None:
            watching.communicate()

    def advance(self, n: int = 1, *, restored: bool = False, **figures: str | float | int) -> None:
        # Before the first step of this session comes what was done in earlier ones.
        if not restored and self._watchdog is not None and time.monotonic() - self._told > self._seconds / 20:
            self._told = time.monotonic()
            assert self._watchdog.stdin is not None
            with suppress(BrokenPipeError):  # somebody has ended it
                self._watchdog.stdin.write(f"{self._seconds}\n".encode())


def _watched(step_s: float | None) -> Watched:
    between_s = STEP_S if step_s is None else max(LEAST_STEP_S, step_s)
    return Watched(between_s, start_s=max(STEP_S, between_s))


def _packed(beginnings: Beginnings) -> dict[str, Any]:
    """Returns what finalists begin with as plain data and arrays."""
    given = beginnings.teacher
    return {
        "weights": {
            digest: {name: to_array(value) for name, value in state.items()}
            for digest, state in beginnings.weights.items()
        },
        "teacher": given and (given[0].to_dict(), {name: to_array(value) for name, value in given[1].items()}),
    }


def _unpacked(plain: dict[str, Any]) -> Beginnings:
    """Re-creates what `_packed` packed; the arrays are copied before anything is trained on."""
    given = plain.get("teacher")
    return Beginnings(
        weights={
            digest: {name: to_tensor(value) for name, value in state.items()}
            for digest, state in plain.get("weights", {}).items()
        },
        teacher=given
        and (Architecture.from_dict(given[0]), {name: to_tensor(value) for name, value in given[1].items()}),
    )
