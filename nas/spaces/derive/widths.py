"""Which widths every stage of a space may have: steps around the network's own that all its layers allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nas.spaces.derive.facts import Fitting, Shape
from nas.spaces.derive.stages import Parts

_REACH = 0.2
_MOST_TRIED = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """What widths the stem and every stage may have; None for a stage that keeps its input width."""

    stem: list[int]
    stages: list[list[int] | None]

    def handed(self, stage: int) -> list[int]:
        """The input widths that a stage (from 0) may have."""
        return next((found for found in reversed(self.stages[:stage]) if found is not None), self.stem)

    def of(self, stage: int) -> list[int]:
        """The widths of a stage, its input's or its own."""
        found = self.stages[stage]
        return self.handed(stage) if found is None else found


def widths_of(
    stem: dict[str, Any], image: Shape, first: Shape, stages: list[Parts], head: dict[str, Any], fitting: Fitting
) -> Widths:
    """Finds the widths.

    Args:
        stem: A template with `$width`.
        image, first: The shapes before and after the stem.
    """
    keep = [_keeps_width(parts, fitting) for parts in stages]

    def follows(begin: int, width: int) -> bool:
        """Whether stages (from 0) on work with this input width: those that keep it, and the next."""
        for parts, same in zip(stages[begin:], keep[begin:], strict=True):
            if not same:
                return parts.works(width, parts.shape[0], fitting)
            if not parts.works(width, width, fitting):
                return False
        last = stages[-1].shape if stages else first
        return fitting.block(head, {"width": width}, (width, *last[1:])) is not None

    def stem_works(width: int) -> bool:
        return fitting.block(stem, {"width": width}, image) == (width, *first[1:]) and follows(0, width)

    found: list[list[int] | None] = []
    for i, (parts, same) in enumerate(zip(stages, keep, strict=True)):
        if same:
            found.append(None)
            continue
        own = parts.shape[0]

        def works(width: int, parts: Parts = parts, after: int = i + 1) -> bool:
            return parts.works(parts.entered[0], width, fitting) and follows(after, width)

        found.append(_around(own, works, fitting))
    return _mated(Widths(stem=_around(first[0], stem_works, fitting), stages=found), stages, fitting)


def _mated(widths: Widths, stages: list[Parts], fitting: Fitting) -> Widths:
    """Without widths that do not go with all others, such as those that a depthwise transition cannot multiply into."""
    for i, parts in enumerate(stages):
        handed, own = widths.handed(i), widths.stages[i]
        if own is None:
            continue
        fixed = {(0, parts.entered[0]), (1, parts.shape[0])}
        grows = parts.shape[0] >= parts.entered[0]
        while True:
            faults = [
                ((0, a), (1, b))
                for a in handed
                for b in own
                if (a <= b or not grows) and parts.after(a, b, fitting) != (b, *parts.shape[1:])
            ]
            counts = Counter(end for pair in faults for end in pair if end not in fixed)
            if not counts:
                break
            (side, worst), _ = counts.most_common(1)[0]
            (own if side else handed).remove(worst)
    return widths


def _around(own: int, works: Callable[[int], bool], fitting: Fitting) -> list[int]:
    found = {own}
    for share in fitting.steps.widths:
        near = _nearest(share * own, own, works)
        if near is not None and (near < own or not fitting.steps.smaller):
            found.add(near)
    return sorted(found)


def _nearest(target: float, own: int, works: Callable[[int], bool]) -> int | None:
    """The nearest width to the target that works, among multiples of 8 (more for wide ones, 4 for narrow ones)."""
    step = 4 if own <= 48 else 8 if own <= 256 else 16 if own <= 512 else 32
    reach = _REACH * own
    every = {width for width in range(step, int(target + reach) + 1, step) if abs(width - target) <= reach}
    if float(target).is_integer():
        every.add(int(target))
    nearest = sorted(every - {own}, key=lambda w: (abs(w - target), w))[:_MOST_TRIED]
    return next((width for width in nearest if works(width)), None)


def _keeps_width(parts: Parts, fitting: Fitting) -> bool:
    """Whether a stage's width is its input's, as it has none of its own."""
    own = parts.shape[0]
    if parts.entered[0] != own:
        return False
    other = _nearest(0.75 * own, own, lambda w: parts.works(w, w, fitting)) or _nearest(
        1.5 * own, own, lambda w: parts.works(w, w, fitting)
    )
    # A stage that works with an input width only if that is its own, too, has no width of its own.
    return other is None or not parts.works(own, other, fitting)
