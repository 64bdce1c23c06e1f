"""Where a search's jobs run: in this process, or wherever a backend of the edge ring takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

from nas.errors import OptionError
from nas.jobs.executor import Executor, InProcess, Scorer, Task
from nas.jobs.setup import ScoringSetup
from nas.jobs.sharded import ShardedWork
from nas.jobs.training import TrainingJob, TrainingTask, TrainingWork
from nas.options import SearchOptions
from nas.progress import Progress

_TOGETHER_S = 20.0
T = TypeVar("T")


class ScorerSource(Protocol):
    """A scorer, or what measures networks, that can be made here, or packed and made elsewhere."""

    def make(self) -> Scorer | Task: ...

    def pack(self) -> ScoringSetup: ...


class ExportSource(Protocol):
    """What exports networks into the run's folder, that can be made here; `facts` are for a process elsewhere."""

    @property
    def facts(self) -> dict[str, Any]: ...

    def make(self) -> Task: ...


class FinalistRecord(Protocol):
    """Hears of trainings that run elsewhere, in the process that writes the record."""

    def epoch(self, digest: str, row: dict[str, Any]) -> None:
        """An epoch is done: {epoch, epochs, loss, validation_accuracy, seconds}."""
        ...

    def stopped(self, digest: str, epoch: int, validation_accuracy: float) -> None:
        """A training fell behind the others and was stopped after `epoch`."""
        ...

    def failed(self, digest: str, error: str) -> None:
        """A training failed, and will not be tried again."""
        ...

    def retried(self, digest: str, reason: str) -> None:
        """A training lost its process and goes on from its last checkpoint in another."""
        ...


class Backend(Protocol):
    """Where jobs run. Jobs and results are plain data, and no result depends on the place."""

    def prepare(self) -> None:
        """Finds out, before anything else is done, whether workers can be had.

        Raises:
            NasError: If not.
        """
        ...

    def facts(self) -> dict[str, Any]:
        """Plain JSON for the record: the number of workers, and where they are."""
        ...

    def scoring(self, source: ScorerSource, *, threads: int, expected_s: float, data_bytes: int) -> Executor:
        """An executor that scores, or measures, with what `source` makes.

        Args:
            threads: CPU threads of torch per job; the scores' last bits depend on it.
            expected_s: What one job is expected to take.
            data_bytes: Of the images that finalists will train on, for which there has to be room later.
        """
        ...

    def training(self, work: TrainingWork, progress: Progress) -> Executor:
        """An executor of `TrainingJob`s, whose results are those of `nas.jobs.training.train_until`.

        Each trains with all of `work.threads`, wherever it runs: the last bits of its weights depend on it.
        """
        ...

    def train(self, jobs: Sequence[TrainingJob], work: TrainingWork, record: FinalistRecord) -> None:
        """Trains finalists side by side, up to their last checkpoint in their folders.

        What has no finished checkpoint afterwards, and was neither stopped nor failed, the caller trains.

        Args:
            work: With threads for all of them together.
        """
        ...

    def train_sharded(self, work: ShardedWork) -> None:
        """Trains on several processes, up to the finished checkpoint in the work's folder.

        Where there is none afterwards, the caller trains all shards, with the same result.

        Raises:
            NasError: If it failed, in a way that another try does not help.
        """
        ...

    def at_device(
        self, device: str, make: Callable[[], T], fits: Callable[[T], bool] = lambda _: True
    ) -> AbstractContextManager[T]:
        """Gives what `make` makes on a machine with a device, this one if it has it; its methods run there.

        Args:
            device: As in a `Setting`.
            make: Can be sent to another process.
            fits: Says of what was made on another machine whether that is the right one.

        Raises:
            OptionError: If there is no such machine.
        """
        ...

    def exports(self, source: ExportSource, *, threads: int) -> Executor:
        """An executor of `ExportJob`s (`nas.export.job`); what it could not write in place is in its results.

        Args:
            threads: CPU threads of torch per job; the last bits of the checks' figures depend on it.
        """
        ...

    def close(self) -> None:
        """Ends every process that was started for this search."""
        ...


class InThisProcess:
    """One job after another, here."""

    def prepare(self) -> None:
        """There is nothing to find out."""

    def facts(self) -> dict[str, Any]:
        return {"workers": 0}

    def scoring(self, source: ScorerSource, *, threads: int, expected_s: float, data_bytes: int) -> Executor:
        # What is scored together is recorded together, and a kill may cost no more than a minute.
        together = max(1, min(16, int(_TOGETHER_S / max(expected_s, 1e-3))))
        return InProcess(source.make, threads=threads, together=together)

    def training(self, work: TrainingWork, progress: Progress) -> Executor:
        return InProcess(lambda: TrainingTask(work, progress), threads=work.threads)

    def train(self, jobs: Sequence[TrainingJob], work: TrainingWork, record: FinalistRecord) -> None:
        """Leaves them all to the caller."""

    def train_sharded(self, work: ShardedWork) -> None:
        """Leaves it to the caller."""

    def at_device(
        self, device: str, make: Callable[[], T], fits: Callable[[T], bool] = lambda _: True
    ) -> AbstractContextManager[T]:
        return nullcontext(make())

    def exports(self, source: ExportSource, *, threads: int) -> Executor:
        return InProcess(source.make, threads=threads)

    def close(self) -> None:
        """There is nothing to end."""


def choose_backend(options: SearchOptions, backend: Backend | None) -> Backend:
    """Returns the given backend, or this process if the options ask for no workers.

    Raises:
        OptionError: If the options ask for workers and none are given.
    """
    if backend is None and (options.workers or options.ray):
        raise OptionError(
            "workers need a backend: pass nas.search backend=nas.executors.open_backend(options), or leave workers out."
        )
    return backend or InThisProcess()
