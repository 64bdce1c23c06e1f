"""Drawing of a network for terminals: one line per stage with its output size, layers and share of multiply-adds."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from nas.budget import format_quantity
from nas.cli.console import table

LONGEST_RUN, BAR = 24, 20


def stage_lines(
    stages: Sequence[Mapping[str, Any]],
    macs: int,
    params: int,
    *,
    latency_s: float | None = None,
    blocks: bool = True,
) -> list[str]:
    """Returns a drawing of the stages and their total.

    Args:
        stages: Rows of a profile: `name`, `output`, `letter`, `depth`, `macs`, `params`, and `latency_s` where the
            stages were timed.
        latency_s: Of the whole network, where the stages were timed.
        blocks: Whether to draw bars with block characters instead of `#`.
    """
    rows = []
    for stage in stages:
        channels, *size = stage["output"]
        share = stage["macs"] / macs if macs else 0.0
        rows.append(
            [
                stage["name"],
                "x".join(map(str, size)),
                str(channels),
                letters(stage["letter"], stage["depth"]),
                bar(share, blocks=blocks),
                f"{100 * share:.1f} %",
                format_quantity("macs", stage["macs"]),
                format_quantity("params", stage["params"]),
            ]
        )
    rows.append(["total", "", "", "", "", "", format_quantity("macs", macs), format_quantity("params", params)])
    header = ["", "map", "width", "layers", "share of the multiply-adds", "", "MACs", "params"]
    if latency_s is not None:
        header.append("latency")
        times = [*(stage["latency_s"] for stage in stages), latency_s]
        rows = [[*row, format_quantity("latency_s", seconds)] for row, seconds in zip(rows, times, strict=True)]
    return table(header, rows, left=(0, 3, 4))


def letters(letter: str, depth: int) -> str:
    """Returns a letter per layer, "CCCA", or counts if there are many layers, "16C 2A"."""
    string = letter * depth if len(letter) == 1 else letter
    if len(string) <= LONGEST_RUN:
        return string
    return " ".join(f"{len(list(run))}{each}" for each, run in groupby(string))


def bar(share: float, *, blocks: bool) -> str:
    """Returns a bar whose length is proportional to a share, with eighths of a character if `blocks`."""
    if not blocks:
        return "#" * round(share * BAR)
    eighths = round(share * BAR * 8)
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]


def has_blocks() -> bool:
    """Returns whether standard output can show block characters."""
    try:
        "█▏▌".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
