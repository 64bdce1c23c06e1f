"""What the ranking is worth, and what became of the trials."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from nas.report.summary import Summary
from nas.report.words import Markup, correlation, count, duration, element, join, pairs, table
from nas.trial import Trial

# The space's presets, and what a calibration trained.
_ORIGINS = {"preset": "given at the start"}
_BASELINES = (
    ("score", "the search's score"),
    ("params", "counting parameters"),
    ("macs", "counting multiply-adds"),
)
_MOST_ERRORS = 10
_MOST_LAYOUTS = 20


def ranking_section(summary: Summary) -> Markup:
    """The score's rank correlation with trained accuracy beside the baselines', and the verdict on it."""
    ranking = summary.ranking
    if ranking is None:
        words = (
            "Not known yet: the scores are compared with the accuracy of networks trained from scratch, "
            "and none has been ranked."
        )
        return element("p", words)
    n = int(ranking.get("n") or 0)
    verdict = str(ranking.get("verdict") or "").strip()
    parts = [element("p", element("strong", verdict[:1].upper() + verdict[1:] + "."))] if verdict else []
    words = (
        f"{count(n, 'network was', 'networks were')} trained from scratch. The figures say how well each "
        "order agrees with the order of the trained test accuracies: +1 is the same, 0 no relation, "
        "−1 the reverse. A score is worth its training only where it does better than counting."
    )
    parts.append(element("p", words))
    rows = [
        (
            name,
            correlation(_figure(ranking, key, "spearman")),
            _interval(ranking, key),
            _whisker(ranking, key),
            correlation(_figure(ranking, key, "kendall")),
        )
        for key, name in _BASELINES
    ]
    if any(_figure(ranking, key, "spearman") is not None for key, _ in _BASELINES):
        headers = ("Order by", "Spearman", "95 % interval", "from −1 to +1", "Kendall")
        parts.append(table(headers, rows, numeric=(1, 2, 4), cards=True))
        note = "Intervals are by bootstrap over the networks; where they overlap much, neither is shown better."
        parts.append(element("p", note, class_="quiet"))
    return join(parts)


def trials_section(summary: Summary) -> Markup:
    """Statuses, failures with their reasons, layouts and origins."""
    trials = summary.trials
    if not trials:
        return element("p", "None yet.")
    failed = [trial for trial in trials if not trial.complete]
    facts: list[tuple[object, object]] = [
        (
            "Trials",
            f"{len(trials):,}, of which {len(summary.complete):,} complete and {len(failed):,} failed",
        ),
        ("Time of a trial", f"{duration(median(trial.seconds for trial in trials))} (median)"),
        ("Where they came from", _counts(_ORIGINS.get(trial.origin or "", trial.origin) for trial in trials)),
    ]
    parts = [pairs(facts)]
    if failed:
        parts += [element("h3", "Failures"), _failures(failed)]
    parts += [element("h3", "Layouts"), _layouts(summary)]
    return join(parts)


def _failures(failed: list[Trial]) -> Markup:
    reasons = Counter(trial.error or "no reason was given" for trial in failed)
    first = {trial.error or "no reason was given": trial.number for trial in reversed(failed)}
    rows: list[tuple[object, ...]] = [(reason, n, first[reason]) for reason, n in reasons.most_common(_MOST_ERRORS)]
    rest = len(reasons) - len(rows)
    more = element("p", f"and {count(rest, 'other reason')}.", class_="quiet") if rest else Markup()
    return join([table(("Reason", "Trials", "First trial"), rows, numeric=(1, 2)), more])


def _layouts(summary: Summary) -> Markup:
    front = Counter(trial.layout for trial in summary.front)
    by_layout: dict[str, list[Trial]] = {}
    for trial in summary.trials:
        by_layout.setdefault(trial.layout, []).append(trial)
    rows: list[tuple[object, ...]] = []
    for layout, group in by_layout.items():
        scores = [trial.score for trial in group if trial.score is not None]
        best, middle = (max(scores), median(scores)) if scores else (None, None)
        rows.append((layout or "none", len(group), summary.score(best), summary.score(middle), front[layout]))
    rows.sort(key=lambda row: str(row[0]))
    if len(rows) > _MOST_LAYOUTS:
        # Of very many layouts the ones that matter are those on the front and those drawn most.
        rows.sort(key=lambda row: (row[4], row[1]), reverse=True)
    rest = len(rows) - _MOST_LAYOUTS
    more = element("p", f"and {count(rest, 'other layout')}.", class_="quiet") if rest > 0 else Markup()
    headers = ("Layout", "Trials", "Best score", "Median score", "On the front")
    return join([table(headers, rows[:_MOST_LAYOUTS], numeric=range(1, 5)), more])


def _counts(values: Iterable[str]) -> str:
    counts = Counter(value or "not recorded" for value in values)
    return ", ".join(f"{name} {n:,}" for name, n in counts.most_common())


def _figure(ranking: Mapping[str, Any], key: str, name: str) -> float | None:
    figures = ranking.get(key)
    value = figures.get(name) if isinstance(figures, Mapping) else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _interval(ranking: Mapping[str, Any], key: str) -> str:
    low, high = _figure(ranking, key, "low"), _figure(ranking, key, "high")
    return "–" if low is None or high is None else f"{correlation(low)} to {correlation(high)}"


def _whisker(ranking: Mapping[str, Any], key: str) -> Markup:
    """The interval and the estimate drawn on a line from -1 to +1."""
    low, high, at = (_figure(ranking, key, name) for name in ("low", "high", "spearman"))
    if low is None or high is None or at is None:
        return Markup("–")
    x0, x1, x = (75 + 70 * max(-1.0, min(1.0, value)) for value in (low, high, at))
    return Markup(
        '<svg viewBox="0 0 150 20" aria-hidden="true">'
        '<line class="axis" x1="5" y1="10" x2="145" y2="10"/>'
        '<line class="axis" x1="75" y1="3" x2="75" y2="17"/>'
        f'<line class="bar" x1="{x0:.1f}" y1="10" x2="{x1:.1f}" y2="10"/>'
        f'<circle class="dot" cx="{x:.1f}" cy="10" r="4"/></svg>'
    )
