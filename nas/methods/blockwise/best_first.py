"""Exact best-first search for the feasible architectures with the highest sums of block scores.

A dynamic program over (state at a block's end, cost) bounds the score that can still be gained from each state with
each remaining budget. It uses binned costs, rounded so that the result is an upper bound. Partial solutions, called
labels (a state, the exact cost so far, the score so far), are extended in the order of their bounds (best-first branch
and bound): the first to reach the end is the best feasible member, the next the second best, and so on.

Dominated labels (more expensive, and no better) cannot be dropped, as is usual if costs have upper bounds only:
proposals must also use a least share of the budget, so that an expensive label may be feasible when a cheap one is not.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from nas.methods.blockwise.blocks import Blocks, Cell, Move
from nas.sampling.feasible_set import FeasibleSet
from nas.spaces import END, START, Node

_BINS = {1: 2048, 2: 160}


class Found(NamedTuple):
    """A member found: its score, its decisions, and its paths, each with its cell."""

    score: float
    options: tuple[Any, ...]
    paths: tuple[tuple[Cell, int], ...]


class _Steps(NamedTuple):
    """The moves from one node as arrays: costs (moves, metrics), scores, and the indices of the moves to each node."""

    moves: list[Move]
    costs: np.ndarray
    scores: np.ndarray
    groups: list[tuple[Node, np.ndarray]]


class _Label(NamedTuple):
    """A partial member."""

    node: Node
    spent: np.ndarray
    score: float
    before: _Label | None
    move: Move | None


def best_first(blocks: Blocks, scores: Mapping[Cell, Sequence[float]], feasible: FeasibleSet) -> Iterator[Found]:
    """Yields every feasible member that consists of scored paths, by descending sum of their scores.

    Args:
        scores: Per cell, a score per path; -inf excludes a path. Missing cells are not entered.
        feasible: The feasible set; its metrics must be additive.
    """
    steps = _steps(blocks, scores, feasible)
    if START not in steps:
        return
    bounds = _Bounds(steps, feasible)
    order = count()
    # Only the best of a label's siblings is on the heap, so that the heap grows by at most two per label popped.
    heap: list[Any] = []

    def push(label: _Label) -> None:
        children = _extended(label, steps[label.node], bounds)
        _push_first(heap, children, order)

    push(_Label(START, np.zeros(len(feasible.metrics), dtype=np.int64), 0.0, None, None))
    while heap:
        _, _, (label, siblings) = heapq.heappop(heap)
        _push_first(heap, siblings, order)
        if label.node == END:
            yield _found(blocks, label)
        else:
            push(label)


def _push_first(heap: list[Any], children: Iterator[tuple[float, _Label]], order: Iterator[int]) -> None:
    first = next(children, None)
    if first is not None:
        heapq.heappush(heap, (-first[0], next(order), (first[1], children)))


def _extended(label: _Label, steps: _Steps, bounds: _Bounds) -> Iterator[tuple[float, _Label]]:
    """Yields the children of a label that may still become feasible, by descending bound."""
    spent = label.spent + steps.costs
    reachable = np.full(len(steps.moves), -np.inf)
    for node, which in steps.groups:
        reachable[which] = bounds.beyond(node, spent[which])
    total = label.score + steps.scores + reachable
    for i in np.argsort(-total, kind="stable"):
        if total[i] == -np.inf:
            return
        move = steps.moves[i]
        yield float(total[i]), _Label(move.node, spent[i], label.score + float(steps.scores[i]), label, move)


def _found(blocks: Blocks, label: _Label) -> Found:
    score, moves = label.score, []
    while label.before is not None:
        assert label.move is not None
        moves.append((blocks.cell(label.before.node), label.move))
        label = label.before
    moves.reverse()
    options = tuple(option for _, move in moves for option in move.options)
    return Found(score, options, tuple((cell, move.path) for cell, move in moves))


def _steps(blocks: Blocks, scores: Mapping[Cell, Sequence[float]], feasible: FeasibleSet) -> dict[Node, _Steps]:
    """Returns the moves along scored paths from which the end can be reached."""
    steps: dict[Node, _Steps] = {}
    for node, every in reversed(blocks.moves.items()):
        scored = scores.get(blocks.cell(node))
        if scored is None:
            continue
        moves = [m for m in every if scored[m.path] > -np.inf and (m.node == END or m.node in steps)]
        if not moves:
            continue
        targets: dict[Node, list[int]] = {}
        for i, move in enumerate(moves):
            targets.setdefault(move.node, []).append(i)
        steps[node] = _Steps(
            moves,
            np.array([[getattr(m, metric) for metric in feasible.metrics] for m in moves], dtype=np.int64),
            np.array([scored[m.path] for m in moves]),
            [(target, np.array(which)) for target, which in targets.items()],
        )
    return steps


class _Bounds:
    """Bounds on the score that can still be gained from each node, by what has been spent."""

    def __init__(self, steps: dict[Node, _Steps], feasible: FeasibleSet) -> None:
        self._bounds = np.array(feasible.bounds, dtype=np.int64)
        self._low = feasible.min_share * np.array(feasible.bounds)
        self._bins = _BINS[len(feasible.metrics)]
        axes = len(feasible.metrics)
        at_end = np.full((self._bins,) * axes, -np.inf)
        at_end[(0,) * axes] = 0.0
        gains: dict[Node, np.ndarray] = {END: at_end}
        left: dict[Node, int] = {END: 0}  # moves to the end, at most
        self._tables: dict[Node, list[np.ndarray]] = {}
        for node, each in steps.items():  # from the end to the start
            gains[node] = self._gain(each, gains)
            left[node] = 1 + max(left[target] for target, _ in each.groups)
            self._tables[node] = [self._windowed(gains[node], axis, left[node]) for axis in range(axes)]

    def beyond(self, node: Node, spent: np.ndarray) -> np.ndarray:
        """Returns the upper bound of feasible extensions per row of costs (labels, metrics); -inf if there are none."""
        within = (spent <= self._bounds).all(1)
        gained = np.full(len(spent), -np.inf)
        if node == END:
            gained[within & (spent >= self._low).any(1)] = 0.0
            return gained
        rest = self._binned(self._bounds - spent[within])
        if len(rest):
            gained[within] = np.max([table[tuple(rest.T)] for table in self._tables[node]], axis=0)
        return gained

    def _binned(self, costs: np.ndarray) -> np.ndarray:
        return costs * self._bins // (self._bounds + 1)

    def _gain(self, steps: _Steps, gains: dict[Node, np.ndarray]) -> np.ndarray:
        """Returns, per sum of binned costs, the most that can be gained from a node."""
        found = np.full((self._bins,) * len(self._bounds), -np.inf)
        for target, which in steps.groups:
            best: dict[tuple[int, ...], float] = {}
            for place, score in zip(map(tuple, self._binned(steps.costs[which])), steps.scores[which], strict=True):
                best[place] = max(score, best.get(place, -np.inf))
            for place, score in best.items():
                if all(shift < self._bins for shift in place):
                    there = tuple(slice(shift, None) for shift in place)
                    rest = tuple(slice(None, self._bins - shift) for shift in place)
                    np.maximum(found[there], gains[target][rest] + score, out=found[there])
        return found

    def _windowed(self, gain: np.ndarray, using: int, moves: int) -> np.ndarray:
        """Returns, per remaining bins, the most over all feasible ends, if metric `using` must use the least share.

        A sum of rounded costs is below the rounded sum by less than the number of moves.
        """
        for axis in range(gain.ndim):
            slack = (self._bounds[axis] - self._low[axis]) * self._bins / (self._bounds[axis] + 1)
            length = int(slack) + moves + 3 if axis == using else self._bins
            gain = _trailing_maximum(gain, axis, min(length, self._bins))
        return gain


def _trailing_maximum(values: np.ndarray, axis: int, length: int) -> np.ndarray:
    """Returns the maximum over a trailing window of `length` values, at every index along an axis."""
    if length >= values.shape[axis]:
        return np.maximum.accumulate(values, axis=axis)
    found, covered = values.copy(), 1
    while covered < length:  # doubling: the maximum of two windows that overlap is that of their union
        step = min(covered, length - covered)
        ahead = [slice(None)] * values.ndim
        behind = [slice(None)] * values.ndim
        ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
        shifted = found.copy()
        np.maximum(found[tuple(ahead)], found[tuple(behind)], out=shifted[tuple(ahead)])
        found, covered = shifted, covered + step
    return found
