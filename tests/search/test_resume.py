"""Runs killed wherever they write, and resumed: nothing is lost, nothing repeated, and the end is the same."""

from __future__ import annotations

import json
import shutil
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nas.run import read_run
from nas.run.events import PhaseFinished, PhaseInterrupted, RunFinished, RunResumed
from nas.training.checkpoint import read_facts

from .kill_cases import Server, assert_same_end, small_space_file, stopped

# Where, the how many-eth time, and how; in the order of the work.
DEATHS = [
    ("replace:events.jsonl", 1, "after"),
    ("write:run.yaml", 1, "half"),
    ("replace:supernet", 3, "after"),
    ("event:curve", 1, "after"),
    ("write:best", 1, "half"),
    ("write:finalist", 3, "half"),
    ("rename:winners", 1, "before"),
    ("event:run_finished", 1, "half"),
]
MORE_DEATHS = [
    ("write:supernet", 2, "half"),
    ("unlink:supernet", 1, "before"),
    ("event:watched", 2, "after"),
    ("event:trial", 3, "half"),
    ("event:finalist", 1, "half"),
    ("event:winner", 1, "before"),
    ("event:phase_started", 1, "half"),
    ("replace:supernet", 3, "before"),
    ("event:curve", 1, "half"),
    ("replace:best", 1, "after"),
    ("event:updates", 1, "before"),
    ("event:phase_finished", 1, "half"),
    ("event:trial", 1, "before"),
    ("event:trial", 6, "after"),
    ("event:finalist_epoch", 2, "after"),
    ("event:ranking", 1, "before"),
]


def name(die: tuple[str, int, str]) -> str:
    return "-".join(map(str, die))


def slow(dies: list[tuple[str, int, str]]) -> list[Any]:
    return [pytest.param(die, marks=pytest.mark.slow) for die in dies]


@pytest.mark.parametrize("die", [*DEATHS, *slow(MORE_DEATHS)], ids=name)
def test_a_killed_run_ends_as_one_that_was_not(
    server: Server, whole: Path, tmp_path: Path, die: tuple[str, int, str]
) -> None:
    run = tmp_path / "run"
    assert server.do("search", run, die) == -signal.SIGKILL
    before = read_run(run).trials()
    assert server.do("resume", run) == 0
    assert read_run(run).trials()[: len(before)] == before
    assert_same_end(run, whole)


def test_a_run_killed_again_and_again_ends_as_one_that_was_not(server: Server, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert server.do("search", run, ("write:supernet", 2, "half")) == -signal.SIGKILL
    for die in (("event:curve", 1, "half"), ("event:trial", 2, "half"), ("event:finalist", 1, "before")):
        assert server.do("resume", run, die) == -signal.SIGKILL
    assert server.do("resume", run) == 0
    assert_same_end(run, whole)
    resumed = read_run(run).events(RunResumed)
    assert [event.phase for event in resumed] == ["supernet", "supernet", "search", "finalists"]


# -- Ctrl-C ---------------------------------------------------------------------------------------------------

INTERRUPTS = [
    ("step", 3, "SIGTERM"),
    ("event:watched", 2, "SIGINT"),
    ("event:trial", 3, "SIGINT"),
    ("step", 6, "SIGINT"),
    ("rename:winners", 1, "SIGTERM"),
]
MORE_INTERRUPTS = [("step", 2, "SIGINT"), ("write:best", 1, "SIGINT"), ("write:finalist", 1, "SIGTERM")]


@pytest.mark.parametrize("die", [*INTERRUPTS, *slow(MORE_INTERRUPTS)], ids=name)
def test_an_interrupted_run_has_saved_what_it_did_and_goes_on(
    server: Server, whole: Path, tmp_path: Path, die: tuple[str, int, str]
) -> None:
    run = tmp_path / "run"
    assert server.do("search", run, die, often=False) == 130
    record = read_run(run)
    [interrupted] = record.events(PhaseInterrupted)
    assert record.events()[-1] == interrupted
    if die[0] == "step" and interrupted.phase == "supernet":
        # The step in which the signal came was finished, then saved.
        [saved] = (run / "supernet").glob(f"step-{die[1]:08d}.safetensors")
        assert read_facts(saved)["step"] == die[1]
    assert server.do("resume", run, often=False) == 0
    assert_same_end(run, whole)


# -- a full disk ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "at",
    [("write:supernet", 3, "full"), ("event:trial", 3, "full"), ("replace:weights.safetensors", 1, "full")],
    ids=name,
)
def test_a_full_disk_is_one_line_and_the_run_goes_on_once_there_is_room(
    server: Server, whole: Path, tmp_path: Path, at: tuple[str, int, str]
) -> None:
    run = tmp_path / "run"
    assert server.do("search", run, at) == 2
    assert "no space left on device. Free some space, then go on with --resume" in server.said
    assert server.said.count("\n") == 0
    assert server.do("resume", run) == 0
    assert_same_end(run, whole)


# -- what a resumed run stands on -----------------------------------------------------------------------------


def test_a_run_needs_neither_the_file_of_its_space_nor_its_place(server: Server, whole: Path, tmp_path: Path) -> None:
    space = tmp_path / "mine.yaml"
    small_space_file(space)
    run = stopped(server, tmp_path / "run", space=str(space))
    space.unlink()
    run = run.rename(tmp_path / "elsewhere")
    (run / "run.yaml").unlink()
    assert server.do("resume", run) == 0
    assert_same_end(run, whole)
    assert (run / "run.yaml").is_file()


def test_a_run_is_not_resumed_with_a_space_that_has_changed(server: Server, tmp_path: Path) -> None:
    space = tmp_path / "mine.yaml"
    small_space_file(space)
    run = stopped(server, tmp_path / "run", space=str(space))
    space.write_text(space.read_text().replace("expand_ratio: [1, 2, 3]", "expand_ratio: [1, 2, 4]"))
    before = (run / "events.jsonl").read_bytes()
    assert server.do("resume", run) == 2
    assert "was made for the search space" in server.said
    assert server.said.count("\n") == 0
    assert (run / "events.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"ops":"', '"ops":"x', "was made by another version of the ops"),
        ('"train_count":1797', '"train_count":1796', "train count was 1796, is 1797"),
        ('"train_min_share":', '"least":', "was planned by another version"),
    ],
)
def test_a_run_is_not_resumed_with_other_ops_or_data(
    server: Server, tmp_path: Path, whole: Path, old: str, new: str, said: str
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    record = run / "events.jsonl"
    lines = record.read_text().splitlines(keepends=True)
    assert old in lines[0]
    record.write_text("".join([lines[0].replace(old, new, 1), *lines[1:-1]]))
    assert server.do("resume", run) == 2
    assert said in server.said
    assert server.said.count("\n") == 0


def test_the_time_of_all_sittings_is_told(server: Server, whole: Path, tmp_path: Path) -> None:
    run = stopped(server, tmp_path / "run", ("event:curve", 2, "before"))
    record = run / "events.jsonl"
    # As if the first sitting had begun an hour before it was killed.
    lines = record.read_text().splitlines(keepends=True)
    for i, kind in ((0, "run_started"), (1, "phase_started")):
        event = json.loads(lines[i])
        assert event["event"] == kind
        event["time"] = (datetime.fromisoformat(event["time"]) - timedelta(hours=1)).isoformat()
        lines[i] = json.dumps(event) + "\n"
    record.write_text("".join(lines))
    assert server.do("resume", run) == 0
    seconds = {event.phase: event.seconds for event in read_run(run).events(PhaseFinished)}
    assert seconds.pop("supernet") > 3600
    assert max(seconds.values()) < 3600
    assert read_run(run).events(RunFinished)[0].seconds > 3600
