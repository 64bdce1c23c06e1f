"""Figures as people read them, for whatever is written out: a share as "81.2 %", seconds as "3 h 12 min"."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

ABSENT = "–"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def percent(share: float | None) -> str:
    """Returns 0.8125 as "81.2 %"."""
    return ABSENT if share is None else f"{100 * share:.1f} %"


def points(change: float) -> str:
    """Returns a change between two shares in percentage points: 0.012 as "+1.2 points"."""
    return f"{100 * change:+.1f} points".replace("-", "−")


def number(value: float | None) -> str:
    """Returns a figure with four significant digits, a large one with commas; whole numbers from 1,000 on, which are
    counts, with all digits.
    """
    if value is None:
        return ABSENT
    if _is_count(value):
        return f"{value:,.0f}".replace("-", "−")
    text = f"{value:.4g}"
    return (f"{float(text):,.0f}" if 1e4 <= abs(value) < 1e12 else text).replace("-", "−")


def score_text(value: float) -> str:
    """Returns a score with four decimals; whole numbers from 1,000 on, which are counts, as "97,098"."""
    return f"{value:,.0f}" if _is_count(value) else f"{value:.4f}"


def _is_count(value: float) -> bool:
    return 1000 <= abs(value) < 1e12 and float(value).is_integer()


def correlation(value: float | None) -> str:
    """Returns a correlation with its sign: 0.714 as "+0.71"."""
    return ABSENT if value is None or not math.isfinite(value) else f"{value:+.2f}".replace("-", "−")


def duration(seconds: float | None) -> str:
    """Returns seconds as "8.8 ms", "0.42 s", "37 s", "4 min 05 s", "3 h 12 min" or "2 d 4 h"."""
    if seconds is None:
        return ABSENT
    if 0 < seconds < 0.1:
        return f"{1000 * seconds:.1f} ms"
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def count(n: int, one: str, many: str = "") -> str:
    """Returns 1, "trial" as "1 trial" and 1200, "trial" as "1,200 trials"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def from_here(data: str) -> str:
    """Returns a path below the current folder as it is typed there; whatever else names data as it is."""
    path = Path(data)
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else data


def further_training(winner: str, seed: int) -> list[str]:
    """Returns the options by which `nas train` goes on from a winner's weights, as after a search from a parent.

    Without them it begins at random, and what the parent knew would be lost. Another seed than the search's may split
    images that the weights were trained on off for validation and the test, which is refused.
    """
    given = ["--weights", f"{winner}/weights.safetensors", "--recipe", "finetune"]
    return [*given, "--seed", str(seed)] if seed else given


def moment(time: str | None) -> str:
    """Returns an ISO 8601 time as "2025-11-21 14:03 UTC"."""
    if not time:
        return ABSENT
    try:
        return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return time


def listing(values: Iterable[object]) -> str:
    """Returns the values as "a, b and c"."""
    words = [str(value) for value in values]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def first_few(values: Sequence[str], most: int, separator: str = ", ") -> str:
    """Returns the first `most` of the values, and how many more there are: "a, b and 3 more"."""
    shown = separator.join(values[:most])
    return shown if len(values) <= most else f"{shown} and {len(values) - most:,} more"


_CHOSEN_BY = {
    "score": "score",
    "params": "most params",
    "log_channels": "most channels",
    "random": "at random",
}
_RIVALS = {"parent": "the parent itself", "scaled": "the parent scaled to the budget"}
FROM_ZOO = "zoo:"
"""What the name of a rival of the zoo begins with; the network's own name follows."""


def chosen_by_words(chosen_by: str) -> str:
    """Returns what makes a network a finalist, for people."""
    if is_rival(chosen_by):
        return f"rival: {rival_name(chosen_by)}"
    return listing(_CHOSEN_BY.get(each, each) for each in reasons(chosen_by))


def reasons(chosen_by: str) -> list[str]:
    """Returns what chose a finalist, one by one: what has the highest score may be the largest too ("score+params")."""
    return chosen_by.split("+")


def rival_name(chosen_by: str) -> str:
    """Returns the name of a rival, for people."""
    if chosen_by.startswith(FROM_ZOO):
        return f"{chosen_by.removeprefix(FROM_ZOO)}, from scratch"
    return _RIVALS[chosen_by]


def is_rival(chosen_by: str) -> bool:
    """Returns whether a finalist is not of the search, but what one would have tried without it."""
    return chosen_by in _RIVALS or chosen_by.startswith(FROM_ZOO)


def rival_line(
    found: Iterable[tuple[str, float | None, float | None]], *, in_percent: bool = False, accuracy: str = "accuracy"
) -> str:
    """A sentence where a rival ranks first; "" where none does, or the search has no finalist to compare.

    Args:
        found: Per finalist, by rank, what chose it, its validation accuracy and the standard error of that.
        in_percent: Whether accuracies are in percent, as in the report, or shares, as on the terminal.
        accuracy: What the run calls accuracy.
    """
    known = [(chosen_by, accuracy, error or 0.0) for chosen_by, accuracy, error in found if accuracy is not None]
    searched = next((each for each in known if not is_rival(each[0])), None)
    if not known or searched is None or not is_rival(known[0][0]):
        return ""
    (rival, best, error), (_, reached, other) = known[0], searched
    if reached == best:  # the rank of equals is by multiply-adds
        return (
            f"A rival is as good with no more multiply-adds, so the search was not needed here: {rival_name(rival)} "
            f"and the best network of the search have validation {accuracy} {_accuracy(best, in_percent)}."
        )
    gap = math.hypot(error, other)
    if best - reached < gap:
        return (
            f"A rival ranks first, within the standard error: {rival_name(rival)} has validation {accuracy} "
            f"{_accuracy(best, in_percent)}, and the best network of the search {_accuracy(reached, in_percent)} "
            f"({_gap(reached - best, gap, in_percent)})."
        )
    return (
        f"A rival is best, so the search was not needed here: {rival_name(rival)} has "
        f"validation {accuracy} {_accuracy(best, in_percent)}, and the best network of the search "
        f"{_accuracy(reached, in_percent)} ({_gap(reached - best, gap, in_percent)})."
    )


def compare_choices(
    found: Iterable[tuple[str, float | None, float | None]], *, in_percent: bool = False, accuracy: str = "accuracy"
) -> str:
    """A sentence on what the score's finalists reached beside those that counting and chance chose; "" without both.

    Args:
        found: Per finalist, what chose it, its validation accuracy and the standard error of that.
        in_percent, accuracy: As in `rival_line`.
    """
    best: dict[str, tuple[float, float, str]] = {}
    for chosen_by, value, error in found:
        for reason in reasons(chosen_by):
            kind = "rival" if is_rival(chosen_by) else reason if reason in ("score", "random") else "counting"
            if value is not None and (kind not in best or value > best[kind][0]):
                best[kind] = value, error or 0.0, chosen_by
    if "score" not in best or len(best) < 2:
        return ""
    score, error, first = best.pop("score")
    others: list[str] = []
    for kind, (value, other, chosen_by) in best.items():
        name = {"random": "at random", "rival": "of a rival"}.get(kind, "by counting")
        gap = _gap(score - value, math.hypot(error, other), in_percent)
        same = chosen_by == first  # one network alone has several reasons
        others.append(f"{name} the same network" if same else f"{name} {_accuracy(value, in_percent)} ({gap})")
    reached = _accuracy(score, in_percent)
    return f"Best validation {accuracy} of a finalist chosen by score {reached}; {'; '.join(others)}."


def _accuracy(value: float, in_percent: bool) -> str:
    return percent(value) if in_percent else f"{value:.4f}"


def _gap(difference: float, error: float, in_percent: bool) -> str:
    if in_percent:
        return f"{100 * difference:+.1f} ± {100 * error:.1f} points"
    return f"{difference:+.4f} ± {error:.4f}"
