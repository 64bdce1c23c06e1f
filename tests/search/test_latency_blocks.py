"""Interleaved blocks and the rule of what can be told, by clocks that are made up."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from nas.errors import LatencyError
from nas.latency.blocks import MOST_SPREAD, SLOW, Block, Record, Timed, interleave, quartiles, summarize


class Machine:
    """A machine whose clock moves only by what runs on it.

    Args:
        slowness: What a run takes at a moment, in shares of what it takes on a quiet machine.
    """

    def __init__(self, slowness: Callable[[float], float] = lambda now: 1.0) -> None:
        self.now = 0.0
        self.ran: list[str] = []
        self.slowness = slowness

    def clock(self) -> float:
        return self.now

    def run(self, name: str, *parts: float) -> Timed:
        """Something that takes so many seconds for each of its parts."""

        def timed(clock: Callable[[], float]) -> Sequence[float]:
            self.ran.append(name)
            moments = [clock()]
            for seconds in parts:
                self.now += seconds * self.slowness(self.now)
                moments.append(clock())
            return [after - before for before, after in pairwise(moments)]

        return timed

    def time(self, *runs: Timed, blocks: int = 5) -> Record:
        return interleave(runs, self.run("R", 0.004), blocks=blocks, clock=self.clock, rng=random.Random(1))


def blocks_in_order(names: Sequence[str]) -> list[str]:
    """The names without repetitions in a row."""
    return [name for before, name in zip(["", *names], names, strict=False) if name != before]


def test_each_block_stands_between_two_of_the_reference() -> None:
    machine = Machine()
    record = machine.time(machine.run("a", 0.01), machine.run("b", 0.002), blocks=5)
    order = blocks_in_order(machine.ran)
    assert order[:3] == ["R", "a", "b"]  # the warm-up
    rounds = order[3:]
    assert rounds[::2] == ["R"] * 11
    assert sorted(rounds[1::2]) == ["a"] * 5 + ["b"] * 5
    assert [sorted(rounds[1::2][i : i + 2]) for i in range(0, 10, 2)] == [["a", "b"]] * 5
    assert rounds[1::2] != ["a", "b"] * 5
    assert len(record.reference) == 11


def test_quiet_machine_gives_what_a_run_takes() -> None:
    machine = Machine()
    record = machine.time(machine.run("a", 0.02), machine.run("b", 0.002, 0.005))
    first, second = summarize(record, 0, "a"), summarize(record, 1, "b")
    assert first.median_s == pytest.approx(0.02)
    assert first.iqr_s == pytest.approx(0)
    assert (first.blocks, first.disturbed) == (5, 0)
    assert second.parts_s == pytest.approx((0.002, 0.005))
    assert record.calls == [3, 5]  # three at least, 30 ms where that is more


def test_second_in_which_the_machine_is_slow_is_left_out() -> None:
    machine = Machine()
    machine.time(machine.run("a", 0.01))
    begin = machine.now
    machine = Machine(lambda now: 3.0 if begin - 0.3 < now < begin + 0.3 else 1.0)
    record = machine.time(machine.run("a", 0.01))
    figure = summarize(record, 0, "a")
    assert figure.disturbed > 0
    assert figure.blocks == 5
    assert figure.median_s == pytest.approx(0.01)
    assert max(block.total for block in record.blocks[0]) == pytest.approx(0.03)


def test_machine_that_is_busy_most_of_the_time_tells_nothing() -> None:
    # Every other tenth of a second another program takes as much.
    jobs = random.Random(3)
    machine = Machine(lambda now: jobs.choice([1.0, 1.0, 4.0, 8.0]))
    record = Record(blocks=[[Block(seconds=(0.01,), beside=beside) for beside in (0.004, 0.012, 0.012, 0.02)]])
    record.reference = [0.004, 0.004, 0.004, 0.012, 0.012, 0.02]
    with pytest.raises(LatencyError, match=r"too busy to tell a: .* slow beside 3 of 4 blocks .*4 and 12 ms"):
        summarize(record, 0, "a")
    assert machine.time(machine.run("a", 0.01)).reference  # it ends


def record_of(seconds: Sequence[float]) -> Record:
    return Record(
        blocks=[[Block(seconds=(each,), beside=0.004) for each in seconds]], reference=[0.004] * (len(seconds) + 1)
    )


def test_blocks_too_far_apart_are_refused_with_what_was_seen() -> None:
    with pytest.raises(LatencyError) as caught:
        summarize(record_of([0.008, 0.009, 0.010, 0.011, 0.012]), 0, "the latency of x at cpu")
    message = str(caught.value)
    for words in ("the latency of x at cpu", "5 blocks are 9, 10 and 11 ms", "20%", "at most 10%", "measure again"):
        assert words in message
    assert summarize(record_of([0.0096, 0.0098, 0.01, 0.0102, 0.0104]), 0, "x").iqr_s == pytest.approx(0.0004)
    assert summarize(record_of([0.008, 0.009, 0.010, 0.011, 0.012]), 0, "x", most_spread=0.3).median_s == 0.010


def test_bounds_of_the_rule_are_as_documented() -> None:
    edge = [0.01 - 0.01 * MOST_SPREAD / 2 * 0.99, 0.01, 0.01 + 0.01 * MOST_SPREAD / 2 * 0.99]
    assert summarize(record_of([edge[0]] * 2 + [edge[1]] + [edge[2]] * 2), 0, "x").blocks == 5
    record = Record(
        blocks=[[Block(seconds=(0.01,), beside=0.004 * share) for share in (1, SLOW - 0.01, SLOW - 0.01, SLOW + 0.01)]],
        reference=[0.004] * 9,
    )
    assert (len(record.undisturbed(0)), summarize(record, 0, "x").disturbed) == (3, 1)


def test_quartiles_are_those_of_linear_interpolation() -> None:
    assert quartiles([4, 1, 3, 2]) == (1.75, 2.5, 3.25)
    assert quartiles([7]) == (7, 7, 7)
