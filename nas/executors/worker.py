"""What a worker process does. It receives all it needs as plain data and shared arrays, and does not import Ray."""

from __future__ import annotations

import faulthandler
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from nas.architecture import Architecture
from nas.data.sharing import Arrays, pack_data, unpack_data
from nas.errors import NasError
from nas.executors.code_version import difference
from nas.jobs.backend import FinalistJob, FinalistWork
from nas.jobs.executor import Job, Scorer, run_job
from nas.jobs.setup import ScoringSetup
from nas.networks.imported_ops import ImportedFile, import_files, imported_files
from nas.progress import Silent
from nas.training import Recipe, fresh_network, train_network

STEP_S = 600.0
"""A training that does no step in so long hangs."""

MakesScorer = Callable[[ScoringSetup], Scorer]
Tell = Callable[[dict[str, Any]], None]


class ScoringWorker:
    """Scores one architecture after another, by one scorer.

    Args:
        program: What the process that sent the setup runs; workers of another version are refused.
        imports: The files of ops that it has imported.
        threads: CPU threads of torch.
    """

    def __init__(
        self,
        setup: ScoringSetup,
        make: MakesScorer,
        *,
        program: dict[str, str],
        threads: int,
        imports: Sequence[ImportedFile] = (),
    ) -> None:
        differing = difference(program)
        if differing is not None:
            raise NasError(f"{differing}. Install the same versions on every node.")
        torch.set_num_threads(threads)
        import_files(imports)
        self._scorer = make(setup)

    def score(self, job: dict[str, Any]) -> dict[str, Any]:
        """The `Result` of a `Job`, both as plain data."""
        return asdict(run_job(self._scorer, Job(**job)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FinalistSetup:
    """What all finalists train on and with: plain data, arrays that processes of one machine share, files of ops."""

    facts: dict[str, Any]
    arrays: Arrays
    imports: tuple[ImportedFile, ...] = ()

    @classmethod
    def of(cls, work: FinalistWork) -> FinalistSetup:
        facts, arrays = pack_data(work.data)
        return cls(facts=facts, arrays=arrays, imports=imported_files())


def train_finalist(
    job: FinalistJob,
    setup: FinalistSetup,
    folder: Path,
    tell: Tell,
    *,
    threads: int,
    step_s: float | None,
    after_save: Callable[[], None] | None,
) -> None:
    """Trains one finalist from its last checkpoint in `folder` to the end.

    `tell` hears of every epoch (its row); of the last one only once the trained weights are in the folder, with
    `finished`. A training that cannot go on says why, as `failed`.

    Args:
        step_s: The process ends itself when no step is done in so long.
    """
    torch.set_num_threads(threads)
    import_files(setup.imports)
    recipe = Recipe(**job.recipe)
    network = fresh_network(Architecture.from_dict(job.architecture), seed=recipe.seed)
    last: dict[str, Any] = {"epoch": recipe.epochs, "epochs": recipe.epochs, "loss": None, "seconds": 0.0}

    def on_epoch(row: dict[str, Any]) -> None:
        nonlocal last
        if row["epoch"] < recipe.epochs:
            tell(row)
        else:
            last = row

    with Watched(step_s or STEP_S) as watched:
        try:
            accuracy = train_network(
                network,
                unpack_data(setup.facts, setup.arrays),
                recipe,
                progress=watched,
                folder=folder,
                metric=job.metric,
                on_epoch=on_epoch,
                validate=True,
                after_save=after_save,
            )
        except NasError as fault:
            tell({**last, "epoch": 0, "validation_accuracy": 0.0, "failed": str(fault)})
            return
    tell({**last, "validation_accuracy": accuracy, "finished": True})


class Watched(Silent):
    """Ends this process, leaving a traceback on its standard error, when no step is done for `seconds`.

    The watch is kept by a thread of C, which no lock of Python's can hold up.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._set = 0.0

    def __enter__(self) -> Watched:
        self._wind()
        return self

    def __exit__(self, *_: object) -> None:
        faulthandler.cancel_dump_traceback_later()

    def advance(self, n: int = 1, *, restored: bool = False, **figures: str | float | int) -> None:
        if time.monotonic() - self._set > self._seconds / 20:
            self._wind()

    def _wind(self) -> None:
        faulthandler.dump_traceback_later(self._seconds, exit=True, file=sys.__stderr__ or sys.stderr)
        self._set = time.monotonic()
