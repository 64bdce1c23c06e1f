"""Progress and output: rates and times left, plain lines that are few, bars that clean up behind them."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from nas.cli.bars import Bars
from nas.cli.console import Console, plain, table
from nas.cli.display import Hidden, Lines
from nas.cli.meter import Meter, duration


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_meter_tells_rate_and_time_left() -> None:
    clock = Clock()
    meter = Meter("search", 200, "networks", clock)
    assert meter.line() == "search: 0/200 networks (0 %)"
    clock.now += 20
    meter.advance(50, {"best": 0.91234, "failed": 1200, "layout": "CCAA"})
    assert (
        meter.line()
        == "search: 50/200 networks (25 %), 2.5 networks/s, 1:00 left, best 0.9123, failed 1,200, layout CCAA"
    )
    clock.now += 40
    assert meter.pace() == "2.5 networks/s, 0:20 left"
    clock.now += 400
    assert meter.pace() == "2.5 networks/s, 0:00 left"


def test_steps_of_an_earlier_session_say_nothing_of_the_speed_of_this_one() -> None:
    clock, out = Clock(), io.StringIO()
    lines = Lines(out, clock)
    lines.start("supernet", 1000, "steps")
    lines.advance(600, restored=True)
    clock.now += 20
    lines.advance(4, loss=0.5)
    clock.now += 20
    lines.advance(4, loss=0.4)
    lines.finish()
    assert out.getvalue().splitlines()[1:] == [
        "supernet: 604/1,000 steps (60 %), 0.2 steps/s, 33:00 left, loss 0.5",
        "supernet: 608/1,000 steps (60 %), 0.2 steps/s, 32:40 left, loss 0.4",
        "supernet: 608 steps (600 of them before) in 0:40, loss 0.4",
    ]


def test_meter_tells_slow_rates_per_minute() -> None:
    clock = Clock()
    meter = Meter("train", 10, "epochs", clock)
    clock.now += 30
    meter.advance(1, {})
    assert meter.pace() == "2 epochs/min, 4:30 left"


def test_meter_without_a_total_gives_no_time_left() -> None:
    clock = Clock()
    meter = Meter("scan", 0, "images", clock)
    clock.now += 1
    meter.advance(1500, {})
    assert meter.line() == "scan: 1,500 images, 1,500 images/s"


def test_percent_reaches_100_only_at_the_end() -> None:
    meter = Meter("search", 1000, "networks", Clock())
    meter.advance(999, {})
    assert meter.percent() == "99 %"
    meter.advance(1, {})
    assert meter.percent() == "100 %"
    meter.advance(5, {})
    assert meter.percent() == "100 %"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (34.4, "0:34"), (59.9, "1:00"), (11_220, "3:07:00")])
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_plain_lines_come_every_few_seconds_at_most() -> None:
    clock, stream = Clock(), io.StringIO()
    lines = Lines(stream, clock)
    lines.start("search", 80, "networks")
    for _ in range(79):
        clock.now += 0.125
        lines.advance()
    lines.finish()
    told = stream.getvalue().splitlines()
    assert told == [
        "search: 0/80 networks (0 %)",
        "search: 40/80 networks (50 %), 8 networks/s, 0:05 left",
        "search: 79 networks in 0:10",
    ]


def test_plain_lines_of_a_long_phase_are_told_less_often() -> None:
    clock, stream = Clock(), io.StringIO()
    lines = Lines(stream, clock)
    lines.start("train", 10 * 3600, "steps")
    for _ in range(10 * 3600):
        clock.now += 1
        lines.advance(loss=0.5)
    assert 600 <= stream.getvalue().count("\n") <= 1200


def test_next_phase_ends_the_one_before() -> None:
    stream = io.StringIO()
    lines = Lines(stream, Clock())
    lines.start("supernet", 2, "steps")
    lines.advance()
    lines.start("search", 3, "networks")
    assert stream.getvalue().splitlines()[1:] == ["supernet: 1 step in 0:00", "search: 0/3 networks (0 %)"]


@pytest.mark.parametrize("kind", [Lines, Bars])
def test_progress_outside_a_phase_is_harmless(kind: type[Lines] | type[Bars]) -> None:
    display = kind(io.StringIO())
    display.advance()
    display.finish()
    display.close()


def test_progress_that_nobody_reads_does_not_end_the_work() -> None:
    lines = Lines(Broken(), Clock())
    lines.start("search", 1, "networks")
    lines.note("hello")
    lines.finish()


def test_bars_show_and_leave_one_plain_line() -> None:
    clock, stream = Clock(), Terminal()
    bars = Bars(stream, clock)
    bars.start("search", 4, "networks")
    clock.now += 2
    bars.advance(2, best=0.5)
    bars.note("[by] the way")
    bars.finish()
    shown = stream.getvalue()
    assert "[by] the way" in shown
    assert shown.endswith("search: 2 networks in 0:02, best 0.5\n")
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1


def test_closing_gives_the_terminal_back_in_the_middle_of_a_phase() -> None:
    stream = Terminal()
    bars = Bars(stream, Clock())
    bars.start("search", 4, "networks")
    bars.close()
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h") == 1


def test_console_draws_bars_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(Console(err=Terminal()).progress, Bars)
    assert isinstance(Console(err=io.StringIO()).progress, Lines)
    assert isinstance(Console(err=Terminal(), quiet=True).progress, Hidden)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(Console(err=Terminal()).progress, Lines)


def test_console_keeps_the_answer_apart() -> None:
    out, err = io.StringIO(), io.StringIO()
    console = Console(as_json=True, out=out, err=err)
    console.say("for people")
    console.note("by the way")
    console.warn("careful\nnow")
    console.document({"a": 1})
    assert json.loads(out.getvalue()) == {"a": 1}
    assert err.getvalue() == "by the way\nWarning: careful now\n"


def test_quiet_console_still_answers_and_warns() -> None:
    out, err = io.StringIO(), io.StringIO()
    console = Console(quiet=True, out=out, err=err)
    console.say("answer")
    console.document({"a": 1})
    console.note("by the way")
    console.warn("careful")
    assert (out.getvalue(), err.getvalue()) == ("answer\n", "Warning: careful\n")


@dataclass(frozen=True)
class Point:
    path: Path
    values: tuple[float, ...]


def test_plain_makes_json_of_values() -> None:
    found = plain({"p": Point(Path("a/b"), (1.0, math.nan, math.inf)), 3: None})
    assert found == {"p": {"path": "a/b", "values": [1.0, None, None]}, "3": None}


def test_table_aligns_columns() -> None:
    assert table(["name", "n"], [["a", "1"], ["bcdefg", "200"]]) == [
        "name      n",
        "a         1",
        "bcdefg  200",
    ]
