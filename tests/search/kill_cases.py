"""A server that makes runs and kills them, and what two runs that ended alike have in common."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgspec import structs
from safetensors.torch import load_file

from nas.export import files_of
from nas.run import RunRecord, read_run
from nas.run.events import (
    Event,
    FinalistEpoch,
    FinalistTrained,
    PhaseFinished,
    RankingEvaluated,
    RunFinished,
    SupernetAccuracy,
    SupernetEpoch,
    TrialScored,
    UpdateCounts,
    WinnerExported,
)
from nas.strict_yaml import dump_yaml

from ..event_cases import timeless

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OPTIONS: dict[str, Any] = {
    "budgets": ["50kFLOPs"],
    "data": "digits",
    "trials": 6,
    "epochs": 2,
    "finalists": 2,
    "finalist_epochs": 2,
    "rivals": 0,
    "batch_size": 512,
    "strategy": "single-path",
    "threads": 1,
    "device": "cpu",
    "onnx": False,
}
# What an uninterrupted run records exactly so; times aside.
KINDS: tuple[type[Event], ...] = (
    *(SupernetAccuracy, SupernetEpoch, UpdateCounts, TrialScored),
    *(FinalistEpoch, FinalistTrained, RankingEvaluated, WinnerExported),
)


class Server:
    """Runs in children of a process that has everything loaded."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._errors = (home / "errors.txt").open("w+")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "kill_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=home,
            env=environment,
        )

    def do(
        self, what: str, out: Path, die: tuple[str, int, str] | None = None, often: bool = True, **changes: Any
    ) -> int:
        """The exit status; minus the signal's number where it was killed.

        Args:
            often: Whether a checkpoint comes after every step.
        """
        self._errors.truncate(0)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        death = None if die is None else {"at": die[0], "nth": die[1], "how": die[2]}
        options = {**OPTIONS, "space": str(self.home / "small.yaml"), **changes}
        asked = {"do": what, "out": str(out), "options": options, "often": often, "die": death}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    @property
    def said(self) -> str:
        """What the last child wrote on standard error."""
        self._errors.seek(0)
        return self._errors.read().strip("\0\n")

    def close(self) -> None:
        self._process.communicate()
        self._errors.close()


def small_space_file(path: Path) -> None:
    """The tests' small space, for ten classes."""
    found = importlib.util.spec_from_file_location("small_space", HERE.parent / "small_space.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    path.write_text(dump_yaml(module.small_data()))


def recorded(run: RunRecord, kind: type[Event]) -> list[Any]:
    """Events of a kind (or trials) without what depends on the time."""
    if kind is TrialScored:
        return [replace(trial, seconds=0.0) for trial in run.trials()]
    events = timeless(run.events(kind))
    if kind is not WinnerExported:
        return events
    # The weights file holds the command, and with it the run's folder.
    for event in events:
        del event.checks["sizes"]["weights.safetensors"]
    return [structs.replace(event, sha256={}) for event in events]


def weights(run: Path) -> dict[str, Any]:
    """Every checkpoint of a run, by its place in it."""
    return {str(path.relative_to(run)): load_file(path) for path in sorted(run.glob("*/**/*.safetensors"))}


def assert_same_end(run: Path, whole: Path) -> None:
    """Nothing lost, nothing repeated, the same bits."""
    mine, theirs = read_run(run), read_run(whole)
    for kind in KINDS:
        assert recorded(mine, kind) == recorded(theirs, kind), kind
    finished = Counter(event.phase for event in mine.events(PhaseFinished))
    assert finished == Counter(["supernet", "search", "finalists", "export"])
    assert len(mine.events(RunFinished)) == 1
    ours, others = weights(run), weights(whole)
    assert ours.keys() == others.keys()
    for name, tensors in ours.items():
        assert all(tensor.equal(others[name][key]) for key, tensor in tensors.items()), name
    for event in mine.events(WinnerExported):
        assert event.sha256 == files_of(run / event.path)
    assert not [path for path in run.rglob(".*") if path.name != ".lock"], "what killed writes left is cleared away"


def stopped(
    server: Server, run: Path, die: tuple[str, int, str] = ("event:trial", 2, "before"), **changes: Any
) -> Path:
    """A run that was killed in the search."""
    assert server.do("search", run, die, **changes) == -signal.SIGKILL
    return run
