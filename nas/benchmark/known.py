"""What a few known accuracies tell about all others: the row to hold scores against that train networks."""

from __future__ import annotations

from collections.abc import Sequence

from nas.architecture import Architecture
from nas.errors import OptionError
from nas.scoring.calibrated import Frame, Measured
from nas.scoring.expectation import choose_telling


def expected_from_known(
    architectures: Sequence[Architecture], accuracies: Sequence[float], count: int
) -> tuple[list[int], list[float]]:
    """Which rows' accuracies were looked at, and what they make expected of every row.

    The rows are those that by costs and structure tell most about all, chosen before any accuracy is seen; a Gaussian
    process on the same features is fitted to their log-odds of being right, as a calibrated score is to those of short
    trainings. Each stands for one full training.

    Args:
        accuracies: As shares, or where one exceeds 1 as percentages.

    Raises:
        OptionError: If fewer than two rows would be left to judge, or the numbers are no accuracies.
    """
    unit = 1.0 if max(accuracies) <= 1 else 100.0
    if min(accuracies) < 0 or max(accuracies) > unit:
        raise OptionError(
            f"--known needs accuracies from 0 to 1 or from 0 to 100, but the table's go from {min(accuracies):g} to "
            f"{max(accuracies):g}. Leave it out, or give another --truth-column."
        )
    if count > len(architectures) - 2:
        raise OptionError(
            f"--known {count} leaves fewer than two of {len(architectures)} networks to judge. Give a smaller number."
        )
    frame = Frame(Measured.of(architectures, None))
    rows = choose_telling(frame.reference, frame.widths, count)
    expected, _ = frame.expectation(rows, [accuracies[row] / unit for row in rows]).at(frame.reference)
    return sorted(rows), [float(value) for value in expected]
