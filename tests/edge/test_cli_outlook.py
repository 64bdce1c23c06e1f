"""The whole run beside its phases: time left, best, front; on terminals of any width, without color, and in a pipe."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from nas.cli import outlook as outlook_module
from nas.cli.bars import Bars
from nas.cli.console import Console
from nas.cli.display import Lines
from nas.cli.outlook import Outlook
from nas.report.status import Status, run_status
from nas.run import Run, read_run
from nas.run.events import PhaseStarted
from tests.edge.test_cli_progress import Clock, Terminal
from tests.search.report_events import make_run

PLAN = {"seconds": {"supernet": 270.0, "search": 270.0, "finalists": 600.0, "export": 60.0}}
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLORS = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9;]*)?m")


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run in its search: 40 of 120 trials in 90 seconds, as planned."""
    path = make_run(tmp_path / "a", until="search", plan=PLAN)
    started = read_run(path).last(PhaseStarted)
    assert started is not None

    def in_time(folder: Path) -> Status:
        with Run.open(folder):
            return run_status(folder, at=started.time + timedelta(seconds=90))

    monkeypatch.setattr(outlook_module, "run_status", in_time)
    return path


def frames(stream: io.StringIO) -> list[str]:
    """All lines that were ever shown, without control codes."""
    return [line.rstrip() for line in re.split(r"[\r\n]+", CODES.sub("", stream.getvalue()))]


def shown(running: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, *, columns: int, height: int = 25) -> Terminal:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(height))
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    bars = Bars(stream, clock)
    bars.watch(Outlook(running, clock))
    bars.start("finalist 1 of 2", 1200, "steps")
    clock.now += 20
    bars.advance(90, loss=0.5123)
    bars.close()
    return stream


def test_time_left_counts_down_between_readings(running: Path) -> None:
    clock = Clock()
    outlook = Outlook(running, clock)
    assert (outlook.left(), outlook.best(), outlook.front()) == ("", "", [])
    outlook.refresh()
    assert outlook.left() == "whole run about 13:53 left"  # 79 times 90 s / 41 of the search, 600 s and 60 s
    clock.now += 30
    assert outlook.left() == "whole run about 13:23 left"
    clock.now += 3600
    assert outlook.left() == "whole run about 0:00 left"
    assert outlook.left(90.0) == "whole run about 1:30 left", "the phase in progress alone takes so long"
    assert re.fullmatch(r"best score 0\.9\d{3} \([CA]{4}\)", outlook.best())


def test_a_run_is_read_at_intervals_that_grow_with_what_reading_takes(
    running: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, reads, read = Clock(), [], outlook_module.run_status

    def slow(folder: Path) -> Status:
        reads.append(clock.now)
        clock.now += 0.5
        return read(folder)

    monkeypatch.setattr(outlook_module, "run_status", slow)
    outlook = Outlook(running, clock)
    for _ in range(200):
        outlook.refresh()
        clock.now += 1
    assert len(reads) == 4
    assert min(b - a for a, b in pairwise(reads)) >= 50
    clock.now = reads[-1] + 5
    outlook.refresh(phase=True)
    assert len(reads) == 4
    clock.now = reads[-1] + 6
    outlook.refresh()
    assert len(reads) == 4
    outlook.refresh(phase=True)
    assert len(reads) == 5


def test_a_run_that_is_being_planned_shows_nothing(tmp_path: Path) -> None:
    outlook = Outlook(tmp_path / "not yet", Clock())
    outlook.refresh(phase=True)
    assert (outlook.left(), outlook.best(), outlook.front()) == ("", "", [])


def test_a_pipe_has_the_whole_run_in_each_line_and_the_front_once(running: Path) -> None:
    clock, stream = Clock(), io.StringIO()
    lines = Lines(stream, clock)
    lines.watch(Outlook(running, clock))
    for _ in range(2):
        lines.start("search", 40, "networks")
        clock.now += 8
        lines.advance(20)
        lines.finish()
    told = stream.getvalue().splitlines()
    assert told[0] == "search: 0/40 networks (0 %), whole run about 13:53 left"
    assert told[1] == "search: 20/40 networks (50 %), 2.5 networks/s, 0:08 left, whole run about 13:45 left"
    assert told[2] == "search: 20 networks in 0:08"
    assert re.fullmatch(r"front: 0\.\d{4} at \d\.\d\d MMACs \([CA]{4}\)(; .*)*", told[3])
    assert len([line for line in told if line.startswith("front")]) == 1
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_a_terminal_of_any_width_has_whole_lines_with_the_time_left(
    columns: int, running: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = frames(shown(running, Clock(), monkeypatch, columns=columns))
    assert max(map(len, found)) <= columns
    (progress, *_) = [line for line in reversed(found) if line.startswith("finalist 1 of 2")]
    assert "7 %" in progress
    assert progress.endswith("4:07 left") or columns < 60
    assert ("4.5 steps/s" in progress) == (columns >= 60)
    assert ("90/1,200 steps" in progress) == (columns >= 80)
    assert any(line.startswith("whole run about 13:53 left") for line in found)
    assert any(line.startswith("front  0.9") for line in found)


def test_a_low_terminal_shows_no_front(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = frames(shown(running, Clock(), monkeypatch, columns=80, height=8))
    assert any(line.startswith("whole run about") for line in found)
    assert not any(line.startswith("front") for line in found)


def test_no_color_is_honored(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert COLORS.search(shown(running, Clock(), monkeypatch, columns=80).getvalue())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not COLORS.search(shown(running, Clock(), monkeypatch, columns=80).getvalue())


@pytest.mark.parametrize("kind", [Lines, Bars])
def test_a_search_shows_its_run(kind: Callable[..., Any], running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal() if kind is Bars else io.StringIO()
    console = Console(err=stream)
    console.watch(running)
    assert console.run == running
    console.progress.start("search", 40, "networks")
    console.progress.close()
    assert "whole run about 13:53 left" in CODES.sub("", stream.getvalue())


def test_a_quiet_search_reads_nothing(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(folder: Path) -> Status:
        raise AssertionError

    monkeypatch.setattr(outlook_module, "run_status", never)
    console = Console(quiet=True)
    console.watch(running)
    console.progress.start("search", 40, "networks")
    console.progress.advance()
    console.progress.finish()
