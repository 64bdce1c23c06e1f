"""Workers with and without a GPU, on a cluster whose nodes declare GPUs that they do not have.

A stand-in takes the place of what computes on a device: it says which one it was made for, and what Ray gave it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.edge.ray_head import environment

# Slow: its cluster cannot be in a process that has had another Ray, so it runs on its own, as do those of others.
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]
PROGRAM = """
import json, random, sys, time
import nas
from nas.executors.ray.backend import RayBackend
from nas.jobs.executor import Job, Result
from nas.jobs.setup import ScoringSetup
from nas.options import SearchOptions
from nas.progress import Silent

class Where:
    def __init__(self, facts):
        self.facts = facts

    def run(self, job):
        import os, ray
        time.sleep(0.2)
        context = ray.get_runtime_context()
        where = [os.getpid(), context.get_assigned_resources().get("GPU", 0.0), context.get_node_id()]
        return Result(status="complete", value=[*where, self.facts], seconds=0.2)

class Source:
    def __init__(self, facts):
        self.facts = facts

    def pack(self):
        return ScoringSetup(make="", facts=self.facts, arrays={})

notes = []

class Notes(Silent):
    def note(self, text):
        notes.append(text)

network = nas.sample(nas.load_space("coatnet-small"), random.Random(0)).to_dict()
options = SearchOptions.of(space="coatnet-small", ray=sys.argv[1], **json.loads(sys.argv[2]))
backend = RayBackend(options, cluster=sys.argv[1], progress=Notes(), make=lambda setup: Where(setup.facts))
backend.prepare()
running = backend.scoring(Source(json.loads(sys.argv[3])), threads=1, expected_s=1.0, data_bytes=0)
try:
    found = list(running.map(Job(architecture=network, seed=seed) for seed in range(60)))
finally:
    running.close()
facts = backend.facts()
backend.close()
print(json.dumps([notes, facts, [result.value for result in found]]))
"""


MEASURING = """
import json, os, sys
import ray
from nas.errors import OptionError
from nas.executors.ray.backend import RayBackend
from nas.options import SearchOptions

class Meter:
    def where(self, *given, **more):
        context = ray.get_runtime_context()
        return [os.getpid(), context.get_node_id(), context.get_assigned_resources(), given, more]

    def process(self):
        return os.getpid()

    def noisy(self):
        raise OptionError("It is noisy.")

def said(do):
    try:
        return do()
    except OptionError as fault:
        return str(fault)

def use(device, do, fits=lambda meter: True):
    with backend.at_device(device, Meter, fits) as meter:
        return do(meter)

options = SearchOptions.of(space="coatnet-small", ray=sys.argv[1])
backend = RayBackend(options, cluster=sys.argv[1])
backend.prepare()
gpus = {node["NodeID"]: node["Resources"].get("GPU", 0.0) for node in ray.nodes()}
found = {
    "here": os.getpid(),
    "gpus": gpus,
    "cpu": use("cpu", lambda meter: meter.process()),
    "cuda": use("cuda", lambda meter: meter.where(1, b=2)),
    "again": use("cuda", lambda meter: [meter.process(), meter.process()]),
    "noisy": said(lambda: use("cuda", lambda meter: meter.noisy())),
    "second": said(lambda: use("cuda:1", lambda meter: meter.where())),
    "other": said(lambda: use("cuda", lambda meter: meter.where(), lambda meter: meter.process() == os.getpid())),
}
backend.close()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A node with a GPU, which is not there, and one without."""
    from ray.cluster_utils import Cluster

    store = 100 * 2**20
    head = {"num_cpus": 2, "num_gpus": 1, "include_dashboard": False, "object_store_memory": store}
    started = Cluster(initialize_head=True, head_node_args=head)
    started.add_node(num_cpus=1, num_gpus=0, object_store_memory=store)
    yield started
    started.shutdown()


def scored(cluster: Any, folder: Path, options: dict[str, Any], facts: dict[str, Any]) -> tuple[list[str], Any, Any]:
    return tuple(answer(folder, PROGRAM, cluster.address, json.dumps(options), json.dumps(facts)))


def answer(folder: Path, program: str, *words: str) -> Any:
    """The last line that a program prints, read as JSON."""
    shown = {**environment(folder), "RAY_AUTH_MODE": "disabled"}
    ran = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=folder,
        env=shown,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return json.loads(ran.stdout.splitlines()[-1])


def test_workers_on_gpus_share_them_and_further_ones_score_on_cpus(tmp_path: Path, cluster: Any) -> None:
    options = {"workers": 2, "gpus_per_worker": 0.5, "cpu_workers": 1}
    facts = {"device": "cuda", "recipe": {"device": "cuda", "epochs": 3}}
    notes, recorded, found = scored(cluster, tmp_path, options, facts)
    kinds: dict[int, tuple[float, str, str]] = {}
    for process, part, _, its in found:
        assert its["recipe"]["epochs"] == 3
        of_it = (part, its["device"], its["recipe"]["device"])
        assert kinds.setdefault(process, of_it) == of_it
    assert sorted(kinds.values()) == [(0.0, "cpu", "cpu"), (0.5, "cuda", "cuda"), (0.5, "cuda", "cuda")]
    assert recorded["cpu_workers"] == 1
    assert any("The last bits of a score depend on the device, so" in note for note in notes)


def test_workers_follow_the_gpus_and_the_cpus_that_are_free_of_them(tmp_path: Path, cluster: Any) -> None:
    options = {"workers": "auto", "gpus_per_worker": 0.5, "cpu_workers": 2}
    _, _, found = scored(cluster, tmp_path, options, {"device": "cuda"})
    nodes = {(process, node) for process, _, node, its in found if its["device"] == "cuda"}
    assert len(nodes) == 2, "each of them takes a CPU of the node with the GPU"
    assert len({node for _, node in nodes}) == 1
    others = {(process, node) for process, _, node, its in found if its["device"] == "cpu"}
    assert len(others) == 1, "there is no room for the second"
    assert not {node for _, node in others} & {node for _, node in nodes}


def test_where_networks_are_on_cpus_further_workers_are_workers(tmp_path: Path, cluster: Any) -> None:
    notes, _, found = scored(cluster, tmp_path, {"workers": 1, "cpu_workers": 1}, {"device": "cpu"})
    assert len({process for process, *_ in found}) == 2
    assert {part for _, part, *_ in found} == {0.0}
    assert not any("last bits" in note for note in notes)


def test_what_needs_a_device_is_on_a_node_that_has_it_alone(tmp_path: Path, cluster: Any) -> None:
    found = answer(tmp_path, MEASURING, cluster.address)
    assert found["cpu"] == found["here"], "this machine has a CPU"
    process, node, resources, given, more = found["cuda"]
    assert process != found["here"]
    assert (found["gpus"][node], resources["CPU"], resources["GPU"]) == (1.0, 2.0, 1.0), "no other job disturbs it"
    assert (given, more) == ([1], {"b": 2})
    first, second = found["again"]
    assert first == second != process, "one process at a time, which ends with the block"
    assert found["noisy"] == "It is noisy."
    for name, device in (("second", "cuda:1"), ("other", "cuda")):
        assert found[name].startswith(f"No node of the cluster has the device {device} that is asked for."), name
