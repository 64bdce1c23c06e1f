"""The hypervolume that a set of points dominates: one figure for a front, in two objectives or more."""

from __future__ import annotations

from collections.abc import Sequence


def hypervolume(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Returns the volume between a set of points and a reference point, where less is better on every axis.

    Exact, by slicing one objective after the other (While et al., "A faster algorithm for calculating hypervolume",
    2006); its time grows with the number of points to the power of the objectives less one. The measure is Zitzler and
    Thiele's "size of the space covered" ("Multiobjective evolutionary algorithms", 1999).

    Args:
        points: Coordinates of each; those that are not below the reference on every axis add nothing.
        reference: The worst value of each objective.
    """
    inside = [tuple(point) for point in points if all(x < worst for x, worst in zip(point, reference, strict=True))]
    return _volume(inside, tuple(reference))


def _volume(points: list[tuple[float, ...]], reference: tuple[float, ...]) -> float:
    if not points:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(point[0] for point in points)
    points = sorted(points, key=lambda point: point[-1])
    ends = [*(point[-1] for point in points[1:]), reference[-1]]
    volume = 0.0
    for number, (point, end) in enumerate(zip(points, ends, strict=True), start=1):
        if end > point[-1]:  # the slice in which the first `number` points count
            volume += (end - point[-1]) * _volume([each[:-1] for each in points[:number]], reference[:-1])
    return volume
