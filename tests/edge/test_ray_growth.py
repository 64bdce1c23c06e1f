"""Workers follow a cluster: a node that joins during a search gets work."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
        assert result.value is not None, result.error
        if result.value not in seen:
            seen.add(result.value)
            print("node", len(seen), flush=True)
        if len(seen) == 2:
            break
finally:
    running.close()
    backend.close()
"""


FINALISTS = shlex.split(
    "--space coatnet-small --budget 5MFLOPs --data digits --method params --trials 2 --finalists 2 "
    "--finalist-epochs 500 --train-resolution 16 --batch-size 64 --threads 1 --device cpu --no-onnx "
    "--no-early-stopping --out a"
)
PROGRAM = "import sys; from nas.cli.main import main_search; sys.exit(main_search())"


@pytest.fixture
def cluster() -> Iterator[Any]:
    """One node with one CPU."""
    from ray.cluster_utils import Cluster

    started = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20},
    )
    yield started
    started.shutdown()


def start(program: str, *words: str, cwd: Path, output: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        cwd=cwd,
        env={**environment(cwd), "RAY_AUTH_MODE": "disabled"},
        stdout=output,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_a_node_that_joins_gets_work(tmp_path: Path, cluster: Any) -> None:
    with start(SEARCH, cluster.address, cwd=tmp_path, output=subprocess.PIPE) as process:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line.strip())
            if line.strip() == "node 1":
                cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        assert process.wait() == 0
    assert said[0].startswith("Ray: 1 worker on the cluster at ")
    assert "Ray: 2 workers now, 1 before, as there is room for" in said
    assert said[-1] == "node 2"


def test_a_finalist_that_waits_begins_on_a_node_that_joins(tmp_path: Path, cluster: Any) -> None:
    def trained() -> set[str]:
        record = tmp_path / "a" / "events.jsonl"
        lines = record.read_text().splitlines(keepends=True) if record.is_file() else []
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        assert not any(event["event"] == "finalist" for event in events), "the first one ended before the second began"
        return {event["digest"] for event in events if event["event"] == "finalist_epoch"}

    with start(PROGRAM, *FINALISTS, "--ray", cluster.address, cwd=tmp_path, output=subprocess.DEVNULL) as process:
        try:
            while not trained():
                assert process.poll() is None
                time.sleep(0.5)
            assert len(trained()) == 1
            cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
            while len(trained()) < 2:
                assert process.poll() is None
                time.sleep(0.5)
        finally:
            process.terminate()
