"""Whether draws agree with what they should be."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import chisquare


def agree(found: Sequence[int], expected: Sequence[float], least: float = 5.0) -> bool:
    """Whether counts agree with expectations by a chi-square test, rare ones taken together."""
    many = [(f, e) for f, e in zip(found, expected, strict=True) if e >= least]
    rare = [(f, e) for f, e in zip(found, expected, strict=True) if e < least]
    if rare:
        together = sum(f for f, _ in rare), sum(e for _, e in rare)
        if together[1] >= least or not many:
            many.append(together)
        else:
            many[0] = many[0][0] + together[0], many[0][1] + together[1]
    return len(many) < 2 or chisquare([f for f, _ in many], [e for _, e in many]).pvalue > 1e-4
