"""A search on workers records what one process records; the workers are played here, and answer as they like.

Last asked, first answered, so that results come out of order; one worker is lost in the middle of a training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from nas.executors.pool import Answer, TimeLimit, WorkerPool
from nas.jobs import training as jobs_training
from nas.jobs.backend import Backend, FinalistRecord, InThisProcess, ScorerSource
from nas.jobs.executor import Executor, Job, Scorer, Task, run_job
from nas.jobs.setup import make_scorer
from nas.jobs.training import TrainingJob, TrainingTask, TrainingWork
from nas.methods.zero_cost import planning
from nas.options import SearchOptions
from nas.pipeline import finalists
from nas.progress import Progress, Silent
from nas.run import RunRecord, read_run
from nas.run.events import (
    CalibrationFailed,
    CalibrationOrder,
    CalibrationRetried,
    CalibrationTrained,
    FinalistFailed,
    FinalistTrained,
    ProxiesMeasured,
    TrialScored,
)
from nas.training import train_network
from nas.training.threads import threads_set

from ..event_cases import timeless
from ..small_space import small_space

OPTIONS: dict[str, Any] = {
    "space": "small", "finalists": 1, "trials": 6, "batch_size": 256, "threads": 1, "device": "cpu", "onnx": False,
    "seed": 4,
}  # fmt: skip
CALIBRATED = {"method": "calibrated", "calibrations": 6, "calibration_epochs": 2, "finalist_epochs": 4}


@dataclass(eq=False)
class Seat:
    doer: Scorer | Task
    job: Job | None = None


@dataclass(eq=False)
class Players:
    """A crew in this process.

    Attributes:
        lost: Says of a job, when it is asked for, whether its worker is lost, having done what it did.
        order: The jobs in the order of their answers.
    """

    make: Callable[[], Scorer | Task]
    threads: int
    lost: Callable[[Job, Scorer | Task], bool] = lambda *_: False
    order: list[Job] = field(default_factory=list)

    def start(self) -> Seat:
        return Seat(self.make())

    def ask(self, worker: Seat, job: Job) -> None:
        worker.job = job

    def answers(self, workers: list[Seat], timeout_s: float) -> list[tuple[Seat, Answer]]:
        starting = [(seat, Answer()) for seat in workers if seat.job is None]
        if starting:
            return starting
        seat = workers[-1]
        job = seat.job
        assert job is not None
        with threads_set(self.threads):
            if self.lost(job, seat.doer):
                return [(seat, Answer(lost="It died."))]
            self.order.append(job)
            return [(seat, Answer(result=run_job(seat.doer, job)))]

    def stop(self, worker: Seat) -> None:
        worker.job = None


class PlayedWorkers(InThisProcess):
    """A backend of three workers in this process."""

    def __init__(self) -> None:
        self.crews: list[Players] = []
        self._lost: set[int] = set()

    def facts(self) -> dict[str, Any]:
        return {"workers": 3}

    def scoring(self, source: ScorerSource, *, threads: int, expected_s: float, data_bytes: int) -> Executor:
        setup = source.pack()
        return self._pool(Players(lambda: make_scorer(setup), threads))

    def training(self, work: TrainingWork, progress: Progress) -> Executor:
        return self._pool(Players(lambda: TrainingTask(work, Silent()), work.threads, self._lose))

    def train(self, jobs: Sequence[TrainingJob], work: TrainingWork, record: FinalistRecord) -> None:
        """Leaves them to the caller, as a backend may."""

    def _lose(self, job: Job, doer: Scorer | Task) -> bool:
        """Once, in the middle of a training to its second epoch."""
        assert isinstance(job, TrainingJob)
        assert isinstance(doer, TrainingTask)
        if job.until != 2 or self._lost:
            return False
        self._lost.add(job.until)
        assert doer.run(replace(job, until=1)).status == "complete"
        return True

    def _pool(self, crew: Players) -> Executor:
        self.crews.append(crew)
        return WorkerPool(crew, size=3, limit=TimeLimit(None, 1.0))


def search(out: Path, backend: Backend, **given: Any) -> RunRecord:
    options = SearchOptions.of(out=str(out), **{**OPTIONS, **given})
    nas.search(small_space(), budgets=[nas.Budget.parse("40kFLOPs")], data="digits", options=options, backend=backend)
    return read_run(out)


def trials(record: RunRecord) -> list[Any]:
    return [(t.number, t.architecture, t.score, t.origin) for t in record.trials()]


@pytest.fixture(autouse=True)
def few_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "PROXY_IMAGES", 10**9)


@pytest.mark.usefixtures("unexported")
def test_events_are_the_same_and_in_the_same_order(tmp_path: Path) -> None:
    workers = PlayedWorkers()
    here, there = (
        search(tmp_path / name, backend, **CALIBRATED)
        for name, backend in (("here", InThisProcess()), ("there", workers))
    )
    kinds = (ProxiesMeasured, CalibrationTrained, CalibrationOrder, FinalistTrained)
    for kind in kinds:
        assert timeless(there.events(kind)) == timeless(here.events(kind)) != []
    assert trials(there) == trials(here)
    order = [type(event) for event in here.events() if isinstance(event, (*kinds, TrialScored))]
    assert [type(event) for event in there.events() if isinstance(event, (*kinds, TrialScored))] == order
    (retried,) = there.events(CalibrationRetried)
    assert (retried.epochs, retried.reasons) == (2, ["It died."])
    assert not here.events(CalibrationRetried)
    trainings = workers.crews[1].order
    recorded = [(event.digest, event.epochs) for event in there.events(CalibrationTrained)]
    answered = [(job.digest, job.until) for job in trainings if isinstance(job, TrainingJob)]
    assert sorted(answered) == sorted(recorded)
    assert answered != recorded, "results came out of order"


@pytest.mark.usefixtures("unexported")
def test_a_network_for_which_memory_does_not_suffice_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process too, where nothing but the network is lost with it."""
    trained: list[str] = []

    def scarce(network: Any, *given: Any, phase: str = "train", **more: Any) -> float:
        trained.append(phase)
        if trained.count(phase) == 1 and phase in ("calibration 2 of 6", "finalist 1 of 2"):
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 9 TiB.")
        return train_network(network, *given, phase=phase, **more)

    for module in (jobs_training, finalists):
        monkeypatch.setattr(module, "train_network", scarce)
    record = search(tmp_path / "run", InThisProcess(), **CALIBRATED | {"finalists": 2, "rivals": 0})
    [failed], [lost] = record.events(FinalistFailed), record.events(CalibrationFailed)
    assert failed.error == "Out of memory (CUDA out of memory. Tried to allocate 9 TiB.)."
    assert lost.error == failed.error
    assert len(record.events(CalibrationTrained)) > 2
    assert len(record.events(FinalistTrained)) == 1


@pytest.mark.usefixtures("unexported")
def test_reference_networks_are_measured_once_for_all_workers(tmp_path: Path) -> None:
    workers, given = PlayedWorkers(), {"method": "az-nas", "finalist_epochs": 1}
    here = search(tmp_path / "here", InThisProcess(), **given)
    assert trials(search(tmp_path / "there", workers, **given)) == trials(here)
    measuring, scoring = workers.crews
    assert len(measuring.order) == here.manifest["plan"]["method"]["reference"]
    assert len(scoring.order) == len(here.trials())
