"""Interleaved blocks: several things timed in turn with a reference workload, and when their figures can be told.

A block is a number of calls in a row, and its figure their median. Before and after each block of what is measured
stands one of the reference. A block beside a slow one of those is disturbed: the machine was slow, not the network. The
figure that is reported is the median of the blocks that were not disturbed.

Nothing here knows what is timed, nor by which clock: tests have a clock of their own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeAlias

from nas.errors import LatencyError

Clock: TypeAlias = Callable[[], float]
"""Seconds since some moment."""
Timed: TypeAlias = Callable[[Clock], Sequence[float]]
"""Runs once and returns the seconds of each of its parts; the number of parts is always the same."""

SLOW = 1.15
"""How slow the reference is beside a disturbed block, in shares of the lower quartile of all its blocks."""
MOST_SPREAD = 0.1
"""The largest interquartile range of blocks, in shares of their median, of which a figure is reported."""
LEAST_BLOCKS = 3
"""The fewest undisturbed blocks of which a figure is reported."""
ROUNDS_PER_BLOCK = 3
"""How many rounds there are at most for each undisturbed block that is asked for."""
_BLOCK_S, _WARM_UP_S = 0.03, 0.2
_FEWEST_CALLS, _MOST_CALLS = 3, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block.

    Attributes:
        seconds: Of each part, the median over the calls.
        beside: Seconds of the reference before or after it, whichever is larger.
    """

    seconds: tuple[float, ...]
    beside: float

    @property
    def total(self) -> float:
        """Seconds of all parts."""
        return sum(self.seconds)


@dataclass(slots=True, kw_only=True)
class Record:
    """The blocks of all that was timed together.

    Attributes:
        blocks: Of each thing, one per round.
        reference: Seconds of each block of the reference.
        calls: Calls in a block of each thing.
    """

    blocks: list[list[Block]]
    reference: list[float] = field(default_factory=list[float])
    calls: list[int] = field(default_factory=list[int])

    @property
    def pace(self) -> float:
        """Seconds of the reference while nothing disturbs it: the lower quartile of its blocks."""
        return quartiles(self.reference)[0]

    def undisturbed(self, index: int) -> list[Block]:
        """Returns the blocks of one thing beside which the reference was not slow."""
        limit = SLOW * self.pace
        return [block for block in self.blocks[index] if block.beside <= limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What the blocks of one thing say.

    Attributes:
        median_s, iqr_s: Median and interquartile range of the undisturbed blocks.
        parts_s: Median of each part.
        blocks, disturbed: How many blocks the figure is of, and how many are left out.
    """

    median_s: float
    iqr_s: float
    parts_s: tuple[float, ...]
    blocks: int
    disturbed: int


def interleave(runs: Sequence[Timed], reference: Timed, *, blocks: int, clock: Clock, rng: random.Random) -> Record:
    """Times runs in turn, each between two blocks of the reference, in an order that changes from round to round.

    Args:
        blocks: Undisturbed blocks of each run that are wanted. There are as many rounds as that takes, but no more than
            `ROUNDS_PER_BLOCK` for each.
    """
    record = Record(blocks=[[] for _ in runs])
    reference_calls = _warm_up(reference, clock)
    record.calls = [_warm_up(run, clock) for run in runs]
    before = sum(_time_block(reference, reference_calls, clock))
    record.reference.append(before)
    for _ in range(ROUNDS_PER_BLOCK * blocks):
        order = list(range(len(runs)))
        rng.shuffle(order)
        for index in order:
            seconds = _time_block(runs[index], record.calls[index], clock)
            after = sum(_time_block(reference, reference_calls, clock))
            record.blocks[index].append(Block(seconds=seconds, beside=max(before, after)))
            record.reference.append(after)
            before = after
        if all(len(record.undisturbed(index)) >= blocks for index in range(len(runs))):
            break
    return record


def summarize(record: Record, index: int, what: str, *, most_spread: float = MOST_SPREAD) -> Figure:
    """Returns the figure of one of the runs that were timed together.

    Args:
        what: What it is, for a message: "the latency of ABC at cpu:threads=1".

    Raises:
        LatencyError: If the blocks are too noisy to tell: what they were, and what to do.
    """
    kept, total = record.undisturbed(index), len(record.blocks[index])
    if len(kept) < min(LEAST_BLOCKS, total):
        low, _, high = (1000 * seconds for seconds in quartiles(record.reference))
        beside = f"{total - len(kept)} of {total} blocks"
        raise LatencyError(
            f"The machine is too busy to tell {what}: the reference workload was slow beside {beside} (its quartiles "
            f"are {low:.3g} and {high:.3g} ms). Stop what else runs, or measure again later."
        )
    low, middle, high = quartiles([block.total for block in kept])
    if high - low > most_spread * middle:
        raise LatencyError(
            f"The machine is too noisy to tell {what}: the quartiles of {len(kept)} blocks are {1000 * low:.3g}, "
            f"{1000 * middle:.3g} and {1000 * high:.3g} ms, an interquartile range of {(high - low) / middle:.0%}; "
            f"at most {most_spread:.0%} can be told. Stop what else runs, or measure again later."
        )
    parts = zip(*(block.seconds for block in kept), strict=True)
    return Figure(
        median_s=middle,
        iqr_s=high - low,
        parts_s=tuple(median(part) for part in parts),
        blocks=len(kept),
        disturbed=total - len(kept),
    )


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns the lower quartile, the median and the upper quartile, by linear interpolation."""
    ordered = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        low = math.floor(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (place - low) * (ordered[high] - ordered[low])

    return at(0.25), at(0.5), at(0.75)


def _warm_up(run: Timed, clock: Clock) -> int:
    """Runs until caches and clocks have settled, and returns how many calls make a block."""
    start, fastest, calls = clock(), math.inf, 0
    while calls < _FEWEST_CALLS or (clock() - start < _WARM_UP_S and calls < _MOST_CALLS):
        fastest = min(fastest, sum(run(clock)))
        calls += 1
    return max(_FEWEST_CALLS, min(_MOST_CALLS, math.ceil(_BLOCK_S / max(fastest, 1e-9))))


def _time_block(run: Timed, calls: int, clock: Clock) -> tuple[float, ...]:
    run(clock)  # caches hold what ran before
    taken = [run(clock) for _ in range(calls)]
    return tuple(median(part) for part in zip(*taken, strict=True))
