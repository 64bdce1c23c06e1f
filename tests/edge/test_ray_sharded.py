"""A supernet's training on real actors: what is recorded and what it ends with are as in one process."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nas.executors.shard_worker import Mailbox
from nas.jobs.backend import InThisProcess
from nas.jobs.sharded import ShardedWork
from nas.methods.supernet.plans import SupernetPlan
from nas.methods.supernet.training import train_supernet
from nas.networks.supernet import Supernet
from nas.options import SearchOptions
from nas.progress import Silent
from nas.run.events import SupernetAccuracy, SupernetEpoch, UpdateCounts
from nas.sampling import BudgetSampler
from nas.training import fresh_network
from nas.training import loop as loops
from nas.training.checkpoint import newest, read_facts
from nas.training.sharded import Shards
from nas.training.threads import threads_set
from tests.edge.processes import processes
from tests.torch.training_cases import StopAt, Stopped, member, recipe, same_tensors, tiny_data, tiny_space

SPACE, DATA = tiny_space(), tiny_data()
EPOCHS, STEPS = 4, 4
STOPPED_AT = 6
"""In the middle of the second epoch."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with threads_set(1):
        yield


@dataclass
class Record:
    """A run's record in memory.

    Attributes:
        kills: Whether a process that trains is ended when the next accuracy is recorded. The first one waits for that,
            and the others wait for the first, within the next epoch.
    """

    path: Path
    kept: list[Any] = field(default_factory=list)
    kills: bool = False

    def part(self, *_: str) -> dict[str, Any]:
        return {}

    def events(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.kept if isinstance(event, kind)]

    def append(self, event: Any) -> None:
        self.kept.append(event)
        if self.kills and isinstance(event, SupernetAccuracy):
            self.kills = False
            os.kill(max(processes("ray::ShardActor")), signal.SIGKILL)


class Heard(Silent):
    """Keeps notes, and how many steps were said to be done already."""

    def __init__(self) -> None:
        self.notes, self.restored = list[str](), list[int]()

    def advance(self, n: int = 1, *, restored: bool = False, **figures: str | float | int) -> None:
        if restored:
            self.restored.append(n)

    def note(self, text: str) -> None:
        self.notes.append(text)


def train(
    record: Record, backend: Any, progress: Any, *, shards: int = 2, teacher: Any = None
) -> dict[str, torch.Tensor]:
    """Trains up to the end; returns the supernet's weights and statistics."""
    own = SupernetPlan(
        epochs=EPOCHS,
        strategy="sandwich",
        watch_every=2,
        recalibration_images=24,
        validation_images=30,
        train_min_share=0.0,
        shards=shards,
    )
    context: Any = SimpleNamespace(
        run=record,
        plan=SimpleNamespace(of=lambda _: own, threads=2, job_threads=1, device="cpu"),
        options=SimpleNamespace(metric="accuracy"),
        data=DATA,
        progress=progress,
        backend=backend,
    )
    members = BudgetSampler(SPACE)
    supernet = Supernet(SPACE, seed=1, choices=members.feasible_choices())
    train_supernet(context, supernet, members, recipe(epochs=EPOCHS), teacher=teacher)
    return {name: value.clone() for name, value in supernet.state_dict().items()}


def facts(record: Record) -> list[Any]:
    """What is recorded, without seconds."""
    curve = [(e.epoch, e.step, e.images, e.loss, e.accuracies) for e in record.events(SupernetEpoch)]
    watched = [(e.epoch, e.name, e.accuracy) for e in record.events(SupernetAccuracy)]
    return [curve, watched, [e.counts for e in record.events(UpdateCounts)]]


@dataclass(frozen=True)
class Scene:
    """A training in one process, undisturbed, and on two that go on from a checkpoint and lose one of them."""

    here: Record
    there: Record
    states: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]
    progress: Heard


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, ray_here: None) -> Scene:
    from nas.executors.ray.backend import RayBackend

    here, there = (Record(tmp_path_factory.mktemp(name)) for name in ("here", "there"))
    (there.path / "events.jsonl").touch()
    undisturbed = train(here, InThisProcess(), Silent())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loops, "_CAUTION", 0.0)  # a checkpoint after every step
        patch.setattr(loops, "_FIRST_S", -1.0)
        with pytest.raises(Stopped):
            train(there, InThisProcess(), StopAt(STOPPED_AT + 1))
    backend, progress = RayBackend(SearchOptions.of(space="tiny", workers=2)), Heard()
    there.kills = True
    state = train(there, backend, progress)
    backend.close()
    return Scene(here, there, (undisturbed, state), progress)


@pytest.mark.ray
def test_a_training_that_loses_a_process_goes_on_from_its_checkpoint_and_ends_with_the_same_weights(
    scene: Scene,
) -> None:
    (lost,) = [note for note in scene.progress.notes if "lost a process" in note]
    assert lost.startswith("The training of the supernet lost a process: ")
    # The first process saves before it measures.
    assert lost.endswith(f"All are replaced, going on from step-{2 * STEPS:08d}.safetensors")
    # Of the two groups, and of this process, which has nothing left to train.
    assert scene.progress.restored == [STOPPED_AT, 2 * STEPS, EPOCHS * STEPS]
    assert same_tensors(*scene.states)
    assert processes("ray::ShardActor") == []


@pytest.mark.ray
def test_its_record_is_that_of_one_process(scene: Scene) -> None:
    assert facts(scene.there) == facts(scene.here)
    assert [row[0] for row in facts(scene.here)[0]] == [2, 4]


@pytest.mark.ray
def test_the_run_keeps_what_one_process_keeps(scene: Scene) -> None:
    names = [sorted(path.name for path in (each.path / "supernet").iterdir()) for each in (scene.here, scene.there)]
    assert names[0] == names[1]
    path = newest(scene.there.path / "supernet")
    assert path is not None
    assert read_facts(path)["ended"]


# -- without Ray ----------------------------------------------------------------------------------------------


class Refusing(InThisProcess):
    """Stands in for workers where there is nothing for them to do."""

    def train_sharded(self, work: Any) -> None:
        raise AssertionError("asked for processes")


def test_undivided_and_ended_trainings_ask_for_no_processes(tmp_path: Path) -> None:
    record = Record(tmp_path)
    train(record, Refusing(), Silent(), shards=1)
    before = facts(record)
    train(record, Refusing(), Silent(), shards=1)
    assert facts(record) == before


class Unpacking(InThisProcess):
    """Stands in for one worker: trains what it is sent, with arrays that cannot be written to."""

    def train_sharded(self, work: ShardedWork) -> None:
        packed = pickle.loads(pickle.dumps(work.pack()))
        for array in packed.arrays.values():
            array.flags.writeable = False
        with threads_set(work.threads):
            packed.training(Shards(work.shards), work.folder, None).run(Silent(), work.tell)


@pytest.mark.parametrize("taught", [False, True])
def test_what_a_worker_trains_from_what_it_is_sent_is_what_this_process_trains(tmp_path: Path, taught: bool) -> None:
    architecture = member(SPACE, "CC", 3)
    teacher = (architecture, fresh_network(architecture, seed=3)) if taught else None
    here, sent = (Record(tmp_path / name) for name in ("here", "sent"))
    states = [
        train(record, backend, Silent(), teacher=teacher)
        for record, backend in ((here, InThisProcess()), (sent, Unpacking()))
    ]
    assert same_tensors(*states)
    assert facts(sent) == facts(here)


@pytest.mark.parametrize(("device", "gpus", "processes"), [("cpu", 0.0, 3), ("cuda", 2.0, 2), ("cuda:0", 8.0, 3)])
def test_no_more_processes_train_than_there_are_shards_or_gpus(
    device: str, gpus: float, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    from nas.executors.ray.data_parallel import processes_for

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"GPU": gpus})
    work: Any = SimpleNamespace(shards=3, device=device)
    assert processes_for(work, 4) == processes


def test_what_a_training_tells_is_recorded_before_it_goes_on() -> None:
    mailbox, done = Mailbox(), threading.Event()

    def training() -> None:
        mailbox.tell({"epoch": 1})
        done.set()

    thread = threading.Thread(target=training)
    thread.start()
    assert mailbox.collect(0).told == [{"epoch": 1}]
    assert mailbox.collect(0).told == [{"epoch": 1}]
    assert not done.is_set()
    assert mailbox.collect(1).told == []
    thread.join(10)
    assert done.is_set()
