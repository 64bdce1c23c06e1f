"""Statistics of the trials: statuses, failures with their reasons, layouts and origins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from nas.methods.protocol.report import Table
from nas.report.summary import Summary

# The space's presets, and the networks of a calibration.
_ORIGINS = {"preset": "given at the start"}
_MOST_ERRORS = 10
_MOST_LAYOUTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """Statistics of all trials.

    Attributes:
        seconds: The median time of a trial.
        failures: By reason; None where none failed.
        more_failures, more_layouts: How many rows the tables leave out.
    """

    total: int
    complete: int
    failed: int
    seconds: float
    origins: str
    failures: Table | None
    more_failures: int
    layouts: Table
    more_layouts: int


def trial_statistics(summary: Summary) -> Trials | None:
    """Returns the statistics, None before the first trial."""
    tally = summary.tally
    if not tally.total:
        return None
    reasons = [(reason, n, tally.first_failed[reason]) for reason, n in tally.reasons.most_common()]
    layouts = _layouts(summary)
    return Trials(
        total=tally.total,
        complete=tally.complete,
        failed=tally.failed,
        seconds=tally.seconds,
        origins=_counts(tally.origins),
        failures=_first(("Reason", "Trials", "First trial"), reasons, _MOST_ERRORS) if reasons else None,
        more_failures=max(0, len(reasons) - _MOST_ERRORS),
        layouts=_first(("Layout", "Trials", "Best score", "Median score", "On the front"), layouts, _MOST_LAYOUTS),
        more_layouts=max(0, len(tally.layouts) - _MOST_LAYOUTS),
    )


def _first(headers: tuple[str, ...], rows: Sequence[tuple[str | int, ...]], most: int) -> Table:
    return Table(headers=headers, rows=rows[:most], numeric=tuple(range(1, len(headers))))


def _layouts(summary: Summary) -> list[tuple[str | int, ...]]:
    front, counts = Counter(trial.layout for trial in summary.front), summary.tally.layouts
    names = sorted(counts, key=lambda layout: layout or "none")
    if len(names) > _MOST_LAYOUTS:
        # If there are many layouts, show those on the front and those sampled most.
        names.sort(key=lambda layout: (front[layout], counts[layout]), reverse=True)
    rows: list[tuple[str | int, ...]] = []
    for layout, scores in summary.tally.scores(names[:_MOST_LAYOUTS]).items():
        best, middle = (max(scores), median(scores)) if scores else (None, None)
        rows.append((layout or "none", counts[layout], summary.score(best), summary.score(middle), front[layout]))
    return rows


def _counts(origins: Counter[str]) -> str:
    named: Counter[str] = Counter()
    for origin, n in origins.items():
        named[_ORIGINS.get(origin, origin) or "not recorded"] += n
    return ", ".join(f"{name} {n:,}" for name, n in named.most_common())
