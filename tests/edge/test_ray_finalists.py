"""Finalists trained by Ray Tune: who ends how, what is told of it, and that weights are those of a plain training."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from nas.architecture import Architecture
from nas.errors import RunError
from nas.executors.finalist_relay import FinalistRelay
from nas.executors.worker import TrainingSetup, train_finalist
from nas.jobs.training import TrainingJob, TrainingWork
from nas.networks.network import Network
from nas.options import SearchOptions
from nas.progress import Silent
from nas.training import Recipe, fresh_network, train_network
from nas.training.checkpoint import load_checkpoint, newest
from nas.training.threads import threads_set
from tests.edge.processes import processes
from tests.torch.training_cases import member, recipe, same_tensors, tiny_data, tiny_space

SPACE, DATA = tiny_space(), tiny_data()
EPOCHS = 6
GOOD = recipe(epochs=EPOCHS, learning_rate=5e-3)
HOPELESS = replace(GOOD, learning_rate=1e-9)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with threads_set(1):
        yield


def job(number: int, layout: str, how: Recipe) -> TrainingJob:
    network = member(SPACE, layout, number)
    return TrainingJob.of(network, how, resolution=network.input.resolution, metric="accuracy")


def work(folder: Path, *, early_stopping: bool = True) -> TrainingWork:
    return TrainingWork(data=DATA, folder=folder, threads=1, early_stopping=early_stopping)


def trained(folder: Path, of: TrainingJob) -> Network:
    """The network as its last checkpoint has it."""
    network = fresh_network(Architecture.from_dict(of.architecture), seed=GOOD.seed)
    path = newest(folder / of.digest)
    assert path is not None
    assert load_checkpoint(path, network)["ended"]
    return network


@dataclass
class Heard:
    """A record that notes what it hears, and kills the process of a training once."""

    kill_after: tuple[str, int] | None = None
    epochs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    others: list[tuple[Any, ...]] = field(default_factory=list)

    def epoch(self, digest: str, row: dict[str, Any]) -> None:
        self.epochs.setdefault(digest, []).append(row)
        if self.kill_after == (digest, row["epoch"]):
            self.kill_after = None
            for pid in processes("ray::ImplicitFunc"):
                os.kill(pid, signal.SIGKILL)

    def stopped(self, digest: str, epoch: int, validation_accuracy: float) -> None:
        self.others.append(("stopped", digest, epoch, validation_accuracy))

    def failed(self, digest: str, error: str) -> None:
        self.others.append(("failed", digest, error))

    def retried(self, digest: str, reason: str) -> None:
        self.others.append(("retried", digest, reason))


# -- with Ray -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """Two finalists, one after the other: the process of the first is killed, the second learns nothing."""

    folder: Path
    jobs: list[TrainingJob]
    heard: Heard


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, ray_here: None) -> Scene:
    from nas.executors.ray.backend import RayBackend

    run = tmp_path_factory.mktemp("run")
    (run / "events.jsonl").touch()
    jobs = [job(1, "CC", GOOD), job(2, "CC", HOPELESS)]
    heard = Heard(kill_after=(jobs[0].digest, 2))
    backend = RayBackend(SearchOptions.of(space="tiny", workers=1))
    backend.train(jobs, work(run / "finalists"), heard)
    backend.close()
    return Scene(run / "finalists", jobs, heard)


@pytest.mark.ray
def test_a_finalist_whose_process_is_killed_goes_on_and_ends_with_the_same_weights(scene: Scene) -> None:
    first = scene.jobs[0]
    ((kind, digest, reason),) = [other for other in scene.heard.others if other[0] != "stopped"]
    assert (kind, digest) == ("retried", first.digest)
    assert reason.startswith("Its process was lost: ")
    plain = fresh_network(Architecture.from_dict(first.architecture), seed=GOOD.seed)
    accuracy = train_network(plain, DATA, GOOD, progress=Silent())
    rows = scene.heard.epochs[first.digest]
    assert sorted({row["epoch"] for row in rows}) == [*range(1, EPOCHS + 1)]
    assert rows[-1]["validation_accuracy"] == accuracy
    weights = {name for name, _ in plain.named_parameters()}
    ours, theirs = (network.state_dict() for network in (plain, trained(scene.folder, first)))
    assert same_tensors({n: ours[n] for n in weights}, {n: theirs[n] for n in weights})


@pytest.mark.ray
def test_a_finalist_that_falls_behind_is_stopped_and_leaves_no_checkpoint(scene: Scene) -> None:
    second = scene.jobs[1]
    ((_, digest, epoch, accuracy),) = [other for other in scene.heard.others if other[0] == "stopped"]
    assert (digest, epoch) == (second.digest, EPOCHS // 3)
    assert scene.heard.epochs[second.digest][-1]["validation_accuracy"] == accuracy
    assert not (scene.folder / second.digest).exists()


@pytest.mark.ray
def test_finalists_that_no_node_has_a_place_for_end_the_search(tmp_path: Path, ray_here: None) -> None:
    from nas.executors.ray.finalists import train_by_tune

    heard, words = Heard(), r"for 3 s no node has had 512 CPUs for one\. Go on with --resume .* --workers 0\."
    (tmp_path / "events.jsonl").touch()
    waiting = replace(work(tmp_path / "finalists"), threads=512)
    with pytest.raises(RunError, match=words):
        train_by_tune(
            [job(1, "CC", GOOD)],
            waiting,
            TrainingSetup.of(waiting),
            FinalistRelay(heard, waiting, Silent()),
            side=1,
            gpus=0.0,
            step_s=None,
            check=lambda: None,
            start_s=3.0,
        )
    assert heard.epochs == {}
    assert heard.others == []


# -- what the processes do ------------------------------------------------------------------------------------


def told(of: TrainingJob, folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    setup = TrainingSetup.of(work(folder))
    train_finalist(of, setup, folder, rows.append, threads=1, step_s=None, after_save=None)
    return rows


def test_a_training_tells_of_every_epoch_and_of_its_end_once_it_is_saved(tmp_path: Path) -> None:
    finalist = job(1, "CA", replace(GOOD, epochs=3))
    rows = told(finalist, tmp_path)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row.get("finished") for row in rows] == [None, None, True]
    assert all(0 <= row["validation_accuracy"] <= 1 for row in rows)
    again = told(finalist, tmp_path)
    assert [(row["epoch"], row["finished"], row["loss"]) for row in again] == [(3, True, None)]
    assert again[0]["validation_accuracy"] == rows[-1]["validation_accuracy"]


def test_measuring_every_epoch_leaves_the_weights_as_they_would_be(tmp_path: Path) -> None:
    networks = [fresh_network(member(SPACE, "CA", 4), seed=0) for _ in range(2)]
    for network, validate in zip(networks, (False, True), strict=True):
        train_network(network, DATA, recipe(), progress=Silent(), on_epoch=lambda _: None, validate=validate)
    assert same_tensors(networks[0].state_dict(), networks[1].state_dict())


def test_a_training_that_cannot_go_on_says_why(tmp_path: Path) -> None:
    (row,) = told(job(1, "CC", replace(GOOD, learning_rate=1e30)), tmp_path)
    assert "The loss became" in row["failed"]


def test_a_training_that_cannot_go_on_where_it_is_ends_the_search_and_is_not_recorded_as_failed(tmp_path: Path) -> None:
    told(job(1, "CA", replace(GOOD, epochs=2)), tmp_path)
    (row,) = told(job(1, "CA", replace(GOOD, epochs=3)), tmp_path)
    assert "failed" not in row
    heard = Heard()
    relay = FinalistRelay(heard, work(tmp_path), Silent())
    relay.row("1", row)
    assert relay.must_stop
    relay.ended("1")
    with pytest.raises(RunError, match=r"(?s)recipe.*Delete"):
        relay.end()
    assert (heard.epochs, heard.others) == ({}, [])


def test_shared_arrays_are_as_they_were_after_a_training(tmp_path: Path) -> None:
    setup = TrainingSetup.of(work(tmp_path))
    before = {name: array.copy() for name, array in setup.arrays.items()}
    finalist = job(3, "CC", replace(GOOD, epochs=1))
    train_finalist(finalist, setup, tmp_path, lambda _: None, threads=1, step_s=None, after_save=None)
    for name, array in setup.arrays.items():
        assert (array == before[name]).all(), name
