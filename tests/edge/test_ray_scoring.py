"""Scoring on real actors: the same results as in process, and what becomes of jobs that end or outlast a worker."""

from __future__ import annotations

import hashlib
import math
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from nas.architecture import Architecture
from nas.errors import RunError
from nas.executors import open_backend
from nas.jobs.backend import InThisProcess, ScorerSource
from nas.jobs.executor import Job, Result
from nas.jobs.setup import ScoringSetup
from nas.methods.calibrated.calibration import Calibration
from nas.methods.calibrated.features import FeatureGroups
from nas.methods.calibrated.scorer import CalibratedScoring
from nas.methods.counted import CountedScoring
from nas.methods.supernet.scorer import SupernetScoring
from nas.methods.zero_cost.scorer import ZeroCostScoring
from nas.networks.supernet import Supernet
from nas.options import SearchOptions
from tests.torch.training_cases import member, recipe, tiny_data, tiny_space

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]
OPTIONS = SearchOptions.of(space="tiny", workers=2)
SPACE = tiny_space()


@pytest.fixture(scope="module", autouse=True)
def by_value(ray_here: None) -> None:
    """Workers cannot import this module."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def jobs(number: int) -> list[Job]:
    """Of different networks each."""
    networks = dict.fromkeys(member(SPACE, layout, seed) for seed in range(50) for layout in SPACE.layouts)
    assert len(networks) >= number
    return [Job(architecture=network.to_dict(), seed=i) for i, network in enumerate(networks)][:number]


# -- a real scorer --------------------------------------------------------------------------------------------


def test_scores_on_workers_are_those_in_process_bit_for_bit_and_shared_arrays_stay_as_they_were() -> None:
    import ray

    from nas.executors.pool import TimeLimit, WorkerPool
    from nas.executors.ray.actors import ActorCrew
    from nas.jobs.setup import make_scorer

    source = SupernetScoring(
        supernet=Supernet(SPACE, seed=3),
        data=tiny_data(),
        recipe=recipe(),
        metric="accuracy",
        recalibration_images=24,
        validation_images=30,
    )
    asked = jobs(7)
    here = [
        result.value for result in InThisProcess().scoring(source, threads=1, expected_s=1.0, data_bytes=0).map(asked)
    ]
    assert len(set(here)) > 1

    setup = source.pack()
    crew = ActorCrew(setup, make_scorer, threads=1)
    pool = WorkerPool(crew, size=2, limit=TimeLimit(None, 1.0))
    try:
        there = [result.value for result in pool.map(asked)]
    finally:
        pool.close()
    assert there == here

    def checksums(arrays: Any) -> dict[str, str]:
        return {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}

    shared: Any = ray.get(crew.setup)
    assert not any(array.flags.writeable for array in shared.arrays.values())
    assert checksums(shared.arrays) == checksums(setup.arrays)


# -- GPUs -----------------------------------------------------------------------------------------------------


def sources(device: str) -> dict[str, ScorerSource]:
    """A scorer of each kind, on a device that need not be here."""
    data, nothing = tiny_data(), Calibration(reference=FeatureGroups(groups=()), digests=(), trained=())
    supernet = SupernetScoring(
        supernet=Supernet(SPACE, seed=3),
        data=data,
        recipe=recipe(device=device),
        metric="accuracy",
        recalibration_images=24,
        validation_images=30,
    )
    return {
        "supernet": supernet,
        "calibrated": CalibratedScoring(calibration=nothing, data=data, seed=1, device=device),
        "zero-cost": ZeroCostScoring(name="nwot", data=data, seed=1, device=device),
        "counted": CountedScoring(name="params"),
    }


@pytest.mark.parametrize(
    ("kind", "device", "share"),
    [
        ("supernet", "cuda", 0.5),
        ("calibrated", "cuda", 0.5),
        ("zero-cost", "cuda", 0.5),
        ("calibrated", "cpu", 0.0),
        ("zero-cost", "cpu", 0.0),
        ("counted", "cuda", 0.0),
    ],
)
def test_every_scorer_that_works_on_a_gpu_asks_for_its_share(
    kind: str, device: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    from nas.executors.ray import backend

    class Asked(Exception):  # noqa: N818
        """Instead of workers; says what they would have had."""

    def crew(*_: Any, gpus: float, **__: Any) -> Any:
        raise Asked(gpus)

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"GPU": 1.0})
    monkeypatch.setattr(backend, "ActorCrew", crew)
    running = backend.RayBackend(OPTIONS).scoring(sources(device)[kind], threads=1, expected_s=1.0, data_bytes=0)
    with pytest.raises(Asked) as asked:
        list(running.map(jobs(1)))
    assert asked.value.args == (share,)


# -- workers that are lost ------------------------------------------------------------------------------------


class Actor:
    """Scores the depth of the last stage, unless the script says otherwise of this try of this network."""

    def __init__(self, folder: Path, deeds: dict[str, list[str]]) -> None:
        self.folder, self.deeds = folder, deeds

    def score(self, architecture: Architecture) -> float:
        tries = len(list(self.folder.glob(f"{architecture.digest}-*")))
        (self.folder / f"{architecture.digest}-{tries}").write_text(str(os.getpid()))
        deeds = self.deeds.get(architecture.digest, [])
        deed = deeds[tries] if tries < len(deeds) else "score"
        if deed == "die":
            os._exit(7)
        if deed == "hang":
            signal.pause()
        if deed == "lack memory":
            raise MemoryError
        return math.nan if deed == "nan" else float(len(architecture.stages[-1].layers))


def make_actor(setup: ScoringSetup) -> Actor:
    return Actor(Path(setup.facts["folder"]), setup.facts["deeds"])


def make_nothing(setup: ScoringSetup) -> Actor:
    raise OSError("no weights")


@dataclass(frozen=True)
class Script:
    """What is to happen: by the number of a job, what is done at each try of it."""

    folder: Path
    deeds: dict[int, list[str]]

    def make(self) -> Any:
        raise AssertionError("scored in process")

    def pack(self) -> ScoringSetup:
        deeds = {digest(number): each for number, each in self.deeds.items()}
        return ScoringSetup(
            make=f"{__name__}:make_actor", facts={"folder": str(self.folder), "deeds": deeds}, arrays={}
        )


@dataclass(frozen=True)
class Scene:
    """Two batches, between which all workers were killed, jobs taken as workers were free for them, and where the tries
    of jobs left their marks.
    """

    first: list[Result]
    second: list[Result]
    as_free: list[tuple[int, Result]]
    folder: Path


DEEDS = {0: ["die"], 2: ["lack memory"], 3: ["nan"], 5: ["hang"]}
LIMIT_S = 5


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, ray_here: None, by_value: None) -> Scene:
    from nas.executors.ray.backend import RayBackend

    folder = tmp_path_factory.mktemp("tries")
    backend = RayBackend(OPTIONS.replaced(job_timeout=LIMIT_S), make=make_actor)
    running = backend.scoring(Script(folder, DEEDS), threads=1, expected_s=1.0, data_bytes=0)
    try:
        first = list(running.map(jobs(8)))
        for pid in pids(folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        second = list(running.map(jobs(12)[8:]))
        left = iter(jobs(16)[12:])
        as_free = list(running.completed(lambda free: list(islice(left, free)), 10))
    finally:
        running.close()
    return Scene(first, second, as_free, folder)


def pids(folder: Path) -> set[int]:
    return {int(path.read_text()) for path in folder.iterdir()}


def digest(number: int) -> str:
    return Architecture.from_dict(jobs(number + 1)[number].architecture).digest


def expected(numbers: range) -> list[float]:
    networks = [Architecture.from_dict(job.architecture) for job in jobs(numbers.stop)[numbers.start :]]
    return [float(len(network.stages[-1].layers)) for network in networks]


def test_results_are_in_order_whatever_becomes_of_workers(scene: Scene) -> None:
    scores = [result.value for result in scene.first]
    assert scores[:3] + scores[4:] == expected(range(3)) + expected(range(4, 8))
    assert [result.value for result in scene.second] == expected(range(8, 12))


def test_results_as_they_come_have_the_places_of_their_jobs(scene: Scene) -> None:
    assert [result.value for _, result in sorted(scene.as_free, key=lambda each: each[0])] == expected(range(12, 16))


def test_a_job_whose_worker_dies_is_tried_again(scene: Scene) -> None:
    (reason,) = scene.first[0].retries
    assert reason.startswith("The worker was lost: ")
    assert "\n" not in reason


def test_a_job_that_lacks_memory_is_tried_again(scene: Scene) -> None:
    assert scene.first[2].retries == ("MemoryError",)


def test_a_score_that_is_no_number_is_a_failed_result(scene: Scene) -> None:
    found = scene.first[3]
    assert (found.status, found.error, found.retries) == ("failed", "The score is nan, not a finite number.", ())


def test_a_job_that_hangs_is_tried_again_and_its_worker_ended(scene: Scene) -> None:
    assert scene.first[5].retries == (f"The job ran longer than {LIMIT_S} s.",)
    hung = int((scene.folder / f"{digest(5)}-0").read_text())
    status = Path(f"/proc/{hung}/status")
    assert not status.exists() or "(zombie)" in status.read_text()


def test_workers_killed_while_idle_are_replaced(scene: Scene) -> None:
    marks = [scene.folder / f"{digest(number)}-0" for number in range(8, 16)]
    before = {int(path.read_text()) for path in scene.folder.iterdir() if path not in marks}
    assert not before & {int(path.read_text()) for path in marks}


def test_a_scorer_that_cannot_be_made_ends_the_search_with_the_reason(tmp_path: Path) -> None:
    from nas.executors.ray.backend import RayBackend

    running = RayBackend(OPTIONS, make=make_nothing).scoring(
        Script(tmp_path, {}), threads=1, expected_s=1.0, data_bytes=0
    )
    with pytest.raises(RunError, match=r"Workers cannot be used: OSError: no weights"):
        list(running.map(jobs(1)))
    running.close()


def test_all_workers_that_have_an_answer_are_heard_at_once(tmp_path: Path) -> None:
    """One that is not heard while another's answer is dealt with would be taken for one that hangs."""
    import ray

    from nas.executors.ray.actors import ActorCrew

    crew = ActorCrew(Script(tmp_path, {}).pack(), make_actor, threads=1)
    workers = [crew.start(), crew.start()]
    ray.wait([worker.answer for worker in workers], num_returns=2, timeout=60)
    assert {id(worker) for worker, _ in crew.answers(workers, 1.0)} == {id(worker) for worker in workers}
    for worker, job in zip(workers, jobs(2), strict=True):
        crew.ask(worker, job)
    ray.wait([worker.answer for worker in workers], num_returns=2, timeout=60)
    answers = sorted((workers.index(worker), answer.result) for worker, answer in crew.answers(workers, 1.0))
    assert [result and result.value for _, result in answers] == expected(range(2))
    for worker in workers:
        crew.stop(worker)


def test_a_backend_does_not_end_a_ray_that_it_did_not_start() -> None:
    import ray

    with open_backend(OPTIONS) as backend:
        backend.prepare()
        assert backend.facts() == {"workers": 2, "ray": "this machine"}
    assert ray.is_initialized()


def test_no_other_worker_is_asked_for_once_the_cluster_is_gone() -> None:
    import ray

    from nas.executors.head_watch import ClusterError
    from nas.executors.ray.actors import ActorCrew

    def gone() -> None:
        raise ClusterError("gone")

    def end() -> None:
        os._exit(1)

    crew = ActorCrew({}, make_actor, threads=1, check=gone)
    lost = ray.remote(max_retries=0)(end).remote()
    with pytest.raises(ClusterError, match="gone"):
        crew._read(lost)
