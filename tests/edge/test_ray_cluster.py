"""Searches on workers that are stopped or lose a node on the way, as a person runs them. Each takes a minute or two."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import nas

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ROOT = Path(nas.__file__).resolve().parents[1]
SEARCH = shlex.split(
    "--space coatnet-small --budget 5MFLOPs --data digits --trials 12 --finalists 3 --finalist-epochs 3 --epochs 1 "
    "--strategy single-path --train-resolution 16 --batch-size 64 --threads 1 --device cpu --no-onnx"
)


def search(*words: str, cwd: Path, act: dict[str, Callable[[int], None]] | None = None) -> tuple[int, str]:
    """Runs nas-search; does something, once each, when a line of its progress begins so. Status and standard error."""
    program = "import sys; from nas.cli.main import main_search; sys.exit(main_search())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    waiting, lines = dict(act or {}), []
    with subprocess.Popen(
        [sys.executable, "-c", program, *SEARCH, *words],
        cwd=cwd,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A suite that was itself started in the background hands on that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            for start in [start for start in waiting if line.startswith(start)]:
                waiting.pop(start)(process.pid)
    assert not waiting, "".join(lines)
    return process.returncode, "".join(lines)


def trials(run: Path) -> list[dict[str, str]]:
    with (run / "trials.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def events(run: Path, kind: str) -> list[dict[str, object]]:
    found = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [event for event in found if event["event"] == kind]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same search in one process."""
    home = tmp_path_factory.mktemp("alone")
    status, said = search("--finalists", "1", "--finalist-epochs", "1", "--out", "a", cwd=home)
    assert status == 0, said
    return home / "a"


@pytest.mark.parametrize("phase", ["search", "finalists"])
def test_a_cluster_that_loses_a_node_finds_the_same_trials(alone: Path, tmp_path: Path, phase: str) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20},
    )
    try:
        second = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        cluster.wait_for_nodes()
        lose = {f"{phase}: 1/": lambda _: cluster.remove_node(second, allow_graceful=False)}
        status, said = search("--ray", cluster.address, "--out", "b", cwd=tmp_path, act=lose)
    finally:
        cluster.shutdown()
    assert status == 0, said
    assert "Ray: 2 workers on the cluster" in said
    assert "Traceback" not in said
    assert trials(tmp_path / "b") == trials(alone)
    if phase == "search":
        assert events(tmp_path / "b", "retried")
    ended = {kind: len(events(tmp_path / "b", kind)) for kind in ("finalist", "finalist_stopped", "finalist_failed")}
    assert ended["finalist"] + ended["finalist_stopped"] == 3
    assert ended["finalist"] >= 1


@pytest.mark.parametrize("phase", ["search", "finalists"])
def test_interrupted_workers_end_and_the_run_goes_on_without_them(alone: Path, tmp_path: Path, phase: str) -> None:
    interrupt = {f"{phase}: 1/": lambda process: os.kill(process, signal.SIGINT)}
    status, said = search("--workers", "2", "--out", "b", cwd=tmp_path, act=interrupt)
    assert status == 130, said
    assert said.splitlines()[-1] == "Interrupted. To go on: nas-search --resume b"
    assert [event["phase"] for event in events(tmp_path / "b", "interrupted")] == [phase]
    program = "import sys; from nas.cli.main import main_search; sys.exit(main_search())"
    command = [sys.executable, "-c", program, "--resume", "b", "--workers", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert trials(tmp_path / "b") == trials(alone)
    assert len(events(tmp_path / "b", "run_finished")) == 1
