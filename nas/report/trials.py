"""Statistics of the trials: statuses, failures with their reasons, layouts and origins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from nas.methods.protocol.report import Table
from nas.report.summary import Summary
from nas.trial import Trial

# The space's presets, and the networks of a calibration.
_ORIGINS = {"preset": "given at the start"}
_NO_REASON = "no reason was given"
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
    trials = summary.trials
    if not trials:
        return None
    failed = [trial for trial in trials if not trial.complete]
    reasons, layouts = _failures(failed), _layouts(summary)
    return Trials(
        total=len(trials),
        complete=len(summary.complete),
        failed=len(failed),
        seconds=median(trial.seconds for trial in trials),
        origins=_counts(_ORIGINS.get(trial.origin or "", trial.origin) for trial in trials),
        failures=_first(("Reason", "Trials", "First trial"), reasons, _MOST_ERRORS) if failed else None,
        more_failures=max(0, len(reasons) - _MOST_ERRORS),
        layouts=_first(("Layout", "Trials", "Best score", "Median score", "On the front"), layouts, _MOST_LAYOUTS),
        more_layouts=max(0, len(layouts) - _MOST_LAYOUTS),
    )


def _first(headers: tuple[str, ...], rows: list[tuple[str | int, ...]], most: int) -> Table:
    return Table(headers=headers, rows=rows[:most], numeric=tuple(range(1, len(headers))))


def _failures(failed: list[Trial]) -> list[tuple[str | int, ...]]:
    """Returns reason, number of trials and first trial, the most common reason first."""
    reasons = Counter(trial.error or _NO_REASON for trial in failed)
    first = {trial.error or _NO_REASON: trial.number for trial in reversed(failed)}
    return [(reason, n, first[reason]) for reason, n in reasons.most_common()]


def _layouts(summary: Summary) -> list[tuple[str | int, ...]]:
    front = Counter(trial.layout for trial in summary.front)
    by_layout: dict[str, list[Trial]] = {}
    for trial in summary.trials:
        by_layout.setdefault(trial.layout, []).append(trial)
    names = sorted(by_layout, key=lambda layout: layout or "none")
    if len(names) > _MOST_LAYOUTS:
        # If there are many layouts, show those on the front and those sampled most.
        names.sort(key=lambda layout: (front[layout], len(by_layout[layout])), reverse=True)
    rows: list[tuple[str | int, ...]] = []
    for layout in names:
        group = by_layout[layout]
        scores = [trial.score for trial in group if trial.score is not None]
        best, middle = (max(scores), median(scores)) if scores else (None, None)
        rows.append((layout or "none", len(group), summary.score(best), summary.score(middle), front[layout]))
    return rows


def _counts(values: Iterable[str]) -> str:
    counts = Counter(value or "not recorded" for value in values)
    return ", ".join(f"{name} {n:,}" for name, n in counts.most_common())
