"""Calibration on real actors: what is measured and trained there is what one process measures and trains."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from nas.errors import RunError
from nas.executors import worker
from nas.jobs.backend import InThisProcess
from nas.jobs.executor import Job, Result
from nas.jobs.training import TrainingJob, TrainingWork
from nas.methods.zero_cost.measuring import ProxyMeasuring
from nas.methods.zero_cost.proxies import PROXIES
from nas.options import SearchOptions
from nas.progress import Silent
from nas.training.checkpoint import newest, read_facts
from tests.torch.training_cases import member, recipe, tiny_data, tiny_space

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]
OPTIONS = SearchOptions.of(space="tiny", workers=2)
SPACE, DATA = tiny_space(), tiny_data()
RECIPE = recipe(epochs=6)
NETWORKS = [*dict.fromkeys(member(SPACE, layout, seed) for seed in range(9) for layout in ("CC", "CA"))][:3]


@pytest.fixture(scope="module", autouse=True)
def by_value(ray_here: None) -> None:
    """Workers cannot import this module."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def jobs(until: int) -> list[TrainingJob]:
    """The second of three trainings diverges."""
    recipes = [RECIPE, replace(RECIPE, learning_rate=1e30), RECIPE]
    return [
        TrainingJob.of(network, how, resolution=DATA.resolution, metric="accuracy", until=until)
        for network, how in zip(NETWORKS, recipes, strict=True)
    ]


def work(run: Path) -> TrainingWork:
    run.mkdir()
    (run / "events.jsonl").touch()
    return TrainingWork(data=DATA, folder=run / "finalists", threads=2)


def timeless(results: list[Result]) -> list[Any]:
    return [(result.status, result.value, result.error) for result in results]


class DiesOnce(worker.WatchedTraining):
    """In its first process, a training of the first network ends without a word once there is a checkpoint.

    Beside the folders a file says at which step the next process found it.
    """

    def run(self, job: Job) -> Result:
        assert isinstance(job, TrainingJob)
        assert job.until is not None
        if job.digest == NETWORKS[0].digest and job.until > 2:
            with self._folder_of(job.digest) as (folder, _):
                mark = folder.parent / "mark"
                if not mark.exists():
                    mark.touch()
                    super().run(replace(job, until=job.until - 1))
                    os._exit(7)
                path = newest(folder)
                assert path is not None
                mark.write_text(str(read_facts(path)["told"]))
        return super().run(job)


@dataclass(frozen=True)
class Scene:
    """The same trainings here and on workers, one of which dies: up to two epochs, then up to four."""

    here: list[list[Result]]
    there: list[list[Result]]
    folder: Path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, ray_here: None, by_value: None) -> Scene:
    from nas.executors.ray import backend

    home = tmp_path_factory.mktemp("runs")
    found: list[list[list[Result]]] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(backend, "WatchedTraining", DiesOnce)
        for name, running in (("here", InThisProcess()), ("there", backend.RayBackend(OPTIONS))):
            executor = running.training(work(home / name), Silent())
            try:
                found.append([list(executor.map(jobs(until))) for until in (2, 4)])
            finally:
                executor.close()
    return Scene(found[0], found[1], home / "there" / "finalists")


def test_trainings_on_workers_reach_what_they_reach_in_process_bit_for_bit(scene: Scene) -> None:
    for here, there in zip(scene.here, scene.there, strict=True):
        assert timeless(there) == timeless(here)
    assert [result.status for result in scene.there[1]] == ["complete", "failed", "complete"]
    assert "The loss became" in str(scene.there[1][1].error)


def test_a_training_whose_worker_dies_goes_on_from_its_last_checkpoint(scene: Scene) -> None:
    (reason,) = scene.there[1][0].retries
    assert reason.startswith("The worker was lost: ")
    assert (scene.folder / "mark").read_text() == "3"
    assert [result.retries for result in scene.there[1][1:]] == [(), ()]


def test_trainings_leave_checkpoints_to_go_on_from(scene: Scene) -> None:
    for network in (NETWORKS[0], NETWORKS[2]):
        path = newest(scene.folder / network.digest)
        assert path is not None
        assert (read_facts(path)["told"], read_facts(path)["ended"]) == (4, False)


def test_a_checkpoint_of_another_training_ends_the_search_with_the_remedy(scene: Scene) -> None:
    from nas.executors.ray.backend import RayBackend

    other = TrainingJob.of(NETWORKS[0], replace(RECIPE, epochs=9), resolution=DATA.resolution, metric="accuracy")
    work = TrainingWork(data=DATA, folder=scene.folder, threads=1)
    executor = RayBackend(OPTIONS).training(work, Silent())
    try:
        with pytest.raises(RunError, match="by another recipe: epochs 6, now 9. Delete it, or resume with the same"):
            list(executor.map([other]))
    finally:
        executor.close()


def test_proxies_measured_on_workers_are_those_in_process() -> None:
    from nas.executors.ray.backend import RayBackend

    source = ProxyMeasuring(names=PROXIES.names(), data=DATA, seed=3, device="cpu")
    asked = [Job(architecture=network.to_dict(), seed=3) for network in NETWORKS]
    found: list[list[Any]] = []
    for running in (InThisProcess(), RayBackend(OPTIONS)):
        executor = running.scoring(source, threads=1, expected_s=1.0, data_bytes=0)
        try:
            found.append([list(map(repr, result.value)) for result in executor.map(asked)])
        finally:
            executor.close()
    assert found[0] == found[1]
    assert len({tuple(values) for values in found[0]}) == len(NETWORKS)
