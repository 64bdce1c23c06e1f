"""Searches on workers that are stopped or lose a node on the way, as a person runs them. Each takes a minute or two."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import nas

# A search that goes on after a loss or an interrupt starts Ray's workers again, which may wait for a busy machine.
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(nas.__file__).resolve().parents[1]
SEARCH = shlex.split(
    "--space coatnet-small --budget 5MFLOPs --data digits --trials 12 --finalists 3 --finalist-epochs 3 --epochs 1 "
    "--strategy single-path --shards 2 --rivals 0 --train-resolution 16 --batch-size 64 --threads 1 --device cpu "
    "--no-onnx --out b"
)
FIRST_STEP = {"search": "trial", "finalists": "finalist_epoch"}
"""The event that each phase records first, while most of its work is still to be done."""


def search(*words: str, cwd: Path, act: dict[str, Callable[[int], None]] | None = None) -> tuple[int, str]:
    """Runs nas-search into the folder b; does something, once each, when an event of a kind is on record there.

    Returns:
        Status and standard error.
    """
    program = "import sys; from nas.cli.main import main_search; sys.exit(main_search())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    waiting, errors = dict(act or {}), cwd / "errors.txt"
    with (
        errors.open("w") as stream,
        subprocess.Popen(
            [sys.executable, "-c", program, *SEARCH, *words],
            cwd=cwd,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=stream,
            # A suite that was itself started in the background hands on that interrupts are ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process,
    ):
        while process.poll() is None:
            # Not lines of progress: these are shown every so many percent or seconds, and may skip the first steps.
            for kind in [kind for kind in waiting if recorded(cwd / "b", kind)]:
                waiting.pop(kind)(process.pid)
            time.sleep(0.02)
    assert not waiting, errors.read_text()
    return process.returncode, errors.read_text()


def recorded(run: Path, kind: str) -> bool:
    record = run / "events.jsonl"
    return record.is_file() and f'"event":"{kind}"' in record.read_text()


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
    # As many finalists as the others have: those that counting finds are the first trials of a search.
    status, said = search("--finalist-epochs", "1", cwd=home)
    assert status == 0, said
    return home / "b"


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
        lose = {FIRST_STEP[phase]: lambda _: cluster.remove_node(second, allow_graceful=False)}
        status, said = search("--ray", cluster.address, cwd=tmp_path, act=lose)
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
    interrupt = {FIRST_STEP[phase]: lambda process: os.kill(process, signal.SIGINT)}
    status, said = search("--workers", "2", cwd=tmp_path, act=interrupt)
    assert status == 130, said
    assert said.splitlines()[-1] == "Interrupted. To go on: nas-search --resume b"
    assert [event["phase"] for event in events(tmp_path / "b", "interrupted")] == [phase]
    program = "import sys; from nas.cli.main import main_search; sys.exit(main_search())"
    command = [sys.executable, "-c", program, "--resume", "b", "--workers", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert trials(tmp_path / "b") == trials(alone)
    assert len(events(tmp_path / "b", "run_finished")) == 1


@pytest.mark.parametrize(("number", "phase"), [(signal.SIGKILL, "search"), (signal.SIGSTOP, "finalists")])
def test_a_search_whose_own_node_is_lost_says_how_to_go_on(tmp_path: Path, number: signal.Signals, phase: str) -> None:
    nodes: list[int] = []

    def lose(process: int) -> None:
        nodes.append(raylet_of(process))
        os.kill(nodes[0], number)

    status, said = search("--workers", "2", cwd=tmp_path, act={FIRST_STEP[phase]: lose})
    assert status == 2, said
    assert "Traceback" not in said
    assert "The Ray node of this process at 127.0.0.1:" in said.splitlines()[-1]
    assert said.splitlines()[-1].endswith("To go on without it: nas-search --resume b --workers 0")
    end = time.monotonic() + 30
    while Path(f"/proc/{nodes[0]}").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert not Path(f"/proc/{nodes[0]}").exists(), "a node that stands still outlives the search"


def raylet_of(process: int) -> int:
    """The node's process, which is a child of the one that started Ray."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            program = (place / "cmdline").read_text().split("\0")[0]
        except (OSError, ValueError, IndexError):
            continue
        if parent == process and program.endswith("/raylet"):
            return int(place.name)
    raise AssertionError("no raylet")
