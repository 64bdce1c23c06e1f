"""How many workers a cluster has room for, and which part of a GPU each gets, by what Ray says of its nodes."""

from __future__ import annotations

from typing import Any

import pytest

from nas.cli.search import elsewhere
from nas.errors import OptionError
from nas.executors import check_room, check_workers
from nas.executors.ray import backend, session
from nas.options import SearchOptions
from nas.progress import Silent

pytestmark = pytest.mark.ray


def cluster(monkeypatch: pytest.MonkeyPatch, *nodes: tuple[float, float], dead: int = 0) -> None:
    """Nodes by their CPUs and GPUs; so many more are dead."""
    import ray

    alive = [{"Alive": True, "Resources": {"CPU": cpus, "GPU": gpus}} for cpus, gpus in nodes]
    gone: list[Any] = [{"Alive": False, "Resources": {"CPU": 8.0}} for _ in range(dead)]
    monkeypatch.setattr(ray, "nodes", lambda: [*alive, *gone, {"Alive": True, "Resources": {}}])
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"GPU": sum(gpus for _, gpus in nodes)})


def test_there_is_room_where_a_node_has_all_that_a_worker_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(monkeypatch, (5, 0), (4, 2), (1, 1), dead=1)
    assert session.room(1) == 10
    assert session.room(2) == 2 + 2 + 0
    assert session.room(1, 0.25) == 0 + 4 + 1
    assert session.room(1, 1.0) == 0 + 2 + 1
    assert session.room(1, 1 / 3) == 0 + 4 + 1


def test_a_part_of_a_gpu_that_is_given_is_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(monkeypatch, (8, 2))
    assert session.gpu_share("cpu", 8, 0.25) == 0.0
    assert session.gpu_share("cuda", 8, 0.25) == 0.25
    assert session.gpu_share("cuda:0", 4) == 0.5
    assert session.gpu_share("cuda", 3) == 0.5, "two share a GPU, since none spans two"
    assert session.gpu_share("cuda", 1) == 1.0
    with pytest.raises(OptionError, match=r"--gpus-per-worker 0.6: 2 GPUs are too few for 3 workers. Give a smaller"):
        session.gpu_share("cuda", 3, 0.6)
    cluster(monkeypatch, (8, 0))
    with pytest.raises(OptionError, match=r"0 GPUs are too few for 1 workers. Leave it out, or give --device cpu"):
        session.gpu_share("cuda", 1, 0.5)


def test_workers_follow_the_cluster_unless_their_number_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Notes(Silent):
        def note(self, text: str) -> None:
            said.append(text)

    def sizes(workers: int | str | None) -> list[int]:
        options = SearchOptions.of(space="tiny", workers=workers, ray="h:1")
        running = backend.RayBackend(options, cluster="h:1", progress=Notes())
        found: list[int] = []
        for nodes in ([(2, 0)], [(2, 0), (3, 0)], [(2, 0)]):
            cluster(monkeypatch, *nodes)
            found.append(running._size(0.0))
        return found

    monkeypatch.setattr(backend, "_LOOK_S", -1.0)
    assert sizes("auto") == [2, 5, 2]
    assert said[-2:] == [
        "Ray: 5 workers now, 2 before, as there is room for",
        "Ray: 2 workers now, 5 before, as there is room for",
    ]
    assert sizes(None) == [2, 5, 2]
    assert sizes(3) == [3, 3, 3]


def test_on_this_machine_auto_is_a_worker_per_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "available_cores", lambda: 7)

    def workers(**given: Any) -> int:
        return backend.RayBackend(SearchOptions.of(space="tiny", **given)).facts()["workers"]

    assert workers(workers="auto") == 7
    assert workers(workers="auto", job_threads=3) == 2
    assert workers(workers=4) == 4


def test_further_workers_take_room_too_and_end_with_the_others() -> None:
    with pytest.raises(OptionError, match="--cpu-workers 3 only help other workers: give --workers or --ray"):
        check_workers(SearchOptions.of(space="tiny", cpu_workers=3))
    options = SearchOptions.of(space="tiny", workers=2, cpu_workers=3)
    check_room(options, 5, "here")
    with pytest.raises(OptionError, match=r"--workers 2 --cpu-workers 3: here has 4 CPUs .* Give at most 4 of both"):
        check_room(options, 4, "here")
    assert elsewhere({"workers": 2, "ray": "h:1", "cpu_workers": 3}, {"workers": 0})["cpu_workers"] == 0


def test_what_only_workers_can_do_is_dropped_without_them() -> None:
    kept = SearchOptions.of(space="tiny", workers=2, job_timeout=60, gpus_per_worker=0.5).to_dict()
    check_workers(SearchOptions.from_dict(elsewhere(kept, {"workers": 0})))
    assert elsewhere(kept, {"workers": 1})["job_timeout"] == elsewhere(kept, {})["job_timeout"] == 60


def test_only_workers_are_asynchronous_and_a_run_that_was_goes_on_without_them() -> None:
    with pytest.raises(OptionError, match=r"--asynchronous: .* Give --workers, or leave it out"):
        check_workers(SearchOptions.of(space="tiny", asynchronous=True))
    kept = SearchOptions.of(space="tiny", workers=2, asynchronous=True).to_dict()
    check_workers(SearchOptions.from_dict(elsewhere(kept, {"workers": 0})))
    check_workers(SearchOptions.from_dict(elsewhere(kept, {"workers": 1})))


@pytest.mark.parametrize(
    ("cpus", "line"),
    [
        (2, "--workers auto: here has 2 CPUs for workers of 4 threads. Give at most --job-threads 2."),
        (
            0,
            "--workers auto: here has 0 CPUs for workers of 4 threads. Give fewer --job-threads, or add nodes with "
            "CPUs.",
        ),
    ],
)
def test_without_room_for_one_worker_auto_is_refused(cpus: int, line: str) -> None:
    for workers in ("auto", None):
        with pytest.raises(OptionError) as refused:
            check_room(SearchOptions.of(space="tiny", workers=workers, ray="h:1", job_threads=4), cpus, "here")
        assert str(refused.value) == line
