"""Workers follow a cluster: a node that joins during a search gets work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.edge.ray_head import environment

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]
# Scores each network by the node that it was scored on, until there are two of them, and prints both and the notes.
SEARCH = """
import random, sys, time
import nas
from nas.executors.ray.backend import RayBackend
from nas.jobs.executor import Job
from nas.jobs.setup import ScoringSetup
from nas.options import SearchOptions
from nas.progress import Silent

class Where:
    def score(self, architecture):
        import ray
        time.sleep(0.3)
        return float(int(ray.get_runtime_context().get_node_id()[:12], 16))

class Source:
    def pack(self):
        return ScoringSetup(make="", facts={}, arrays={})

class Notes(Silent):
    def note(self, text):
        print(text, flush=True)

space = nas.load_space("coatnet-small")
network = nas.sample(space, random.Random(0)).to_dict()
options = SearchOptions.of(space="coatnet-small", workers="auto", ray=sys.argv[1])
backend = RayBackend(options, cluster=sys.argv[1], progress=Notes(), make=lambda setup: Where())
backend.prepare()
running = backend.scoring(Source(), threads=1, expected_s=1.0, data_bytes=0)
seen = set()
try:
    for result in running.map(Job(architecture=network, seed=seed) for seed in range(2000)):
        assert result.score is not None, result.error
        if result.score not in seen:
            seen.add(result.score)
            print("node", len(seen), flush=True)
        if len(seen) == 2:
            break
finally:
    running.close()
    backend.close()
"""


def test_a_node_that_joins_gets_work(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20},
    )
    try:
        with subprocess.Popen(
            [sys.executable, "-c", SEARCH, cluster.address],
            cwd=tmp_path,
            env={**environment(tmp_path), "RAY_AUTH_MODE": "disabled"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            said: list[str] = []
            for line in process.stdout:
                said.append(line.strip())
                if line.strip() == "node 1":
                    cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
            assert process.stderr is not None
            assert process.wait() == 0, process.stderr.read()
    finally:
        cluster.shutdown()
    assert said[0].startswith("Ray: 1 workers on the cluster at ")
    assert "Ray: 2 workers now, 1 before, as there is room for" in said
    assert said[-1] == "node 2"
