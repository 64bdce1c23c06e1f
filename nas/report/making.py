"""How a run was made, so that it can be repeated, and the commands that go on from it."""

from __future__ import annotations

import math
import shlex
from typing import Any

from nas.budget import Budget
from nas.options import SearchOptions, flag
from nas.report.summary import Summary
from nas.report.words import ABSENT, Markup, count, duration, element, join, listing, pairs, table
from nas.run.events import PhaseInterrupted, RunFinished, RunResumed


def making_section(summary: Summary) -> Markup:
    """Resolutions in words, time per phase, options as asked and as used, versions."""
    manifest = summary.record.manifest
    versions = manifest.get("versions")
    made: list[tuple[object, object]] = [
        ("Seed", summary.setting("seed")),
        ("Search space", f"{summary.options.get('space', '?')}, digest {manifest.get('space_digest', '?')}"),
    ]
    if isinstance(versions, dict):
        made += [(str(name), version) for name, version in versions.items()]
    return join(
        [
            element("p", resolutions(summary)),
            element("h3", "Time"),
            _phases(summary),
            element("h3", "Seed and versions"),
            pairs(made),
            element("h3", "Options"),
            _options(summary),
        ]
    )


def resolutions(summary: Summary) -> str:
    """At which image size accuracy was measured, and at which the budget counts."""
    counted = summary.setting("resolution")
    if counted is None and summary.trials:
        counted = summary.trials[0].architecture.input.resolution
    measured = next((c.resolution for c in summary.candidates if c.resolution), None)
    measured = measured or summary.setting("train_resolution")
    if counted is None and measured is None:
        return "At which image size accuracy is measured and costs are counted is not recorded yet."
    if measured is None:
        return f"Costs are counted on images of {counted} × {counted} pixels."
    if counted is None or counted == measured:
        return f"Accuracy is measured, and costs are counted, on images of {measured} × {measured} pixels."
    return (
        f"Accuracy is measured on images of {measured} × {measured} pixels, while the budget counts the cost "
        f"on images of {counted} × {counted}. What is reached at {counted} pixels this run does not say."
    )


def commands_section(summary: Summary) -> Markup:
    """What to type next."""
    run = str(summary.path)
    data = str(summary.options.get("data", "digits"))
    parts: list[Markup] = []
    if not summary.finished:
        parts += [_command("Continue this run:", ["nas-search", "--resume", run])]
    best = next((c for c in summary.winners if c.path), None)
    if best is not None:
        folder = best.path or ""
        config = folder if folder.startswith("/") else f"{run}/{folder}"
        config = f"{config}/architecture.yaml"
        parts += [
            _command("Train the best network for longer:", ["nas", "train", config, "--data", data]),
            _command("Look at its cost, stage by stage:", ["nas", "profile", config]),
        ]
    if summary.winners:
        parts += [_command("Export a network again, by its rank:", ["nas", "export", run, "--rank", "1"])]
    if summary.finished:
        parts += [_command("Make this page anew:", ["nas", "report", run])]
    lower = _lower_budget(summary)
    if lower is not None:
        words = SearchOptions.from_dict(summary.options).command(budgets=(lower, *map(str, summary.budgets[1:])))
        parts.append(_command("Search the same way under a lower budget:", words))
    parts += [
        *_borrowing(summary, run),
        _command("Browse the trials in optuna-dashboard:", ["optuna-dashboard", f"{run}/study.journal"]),
    ]
    beside = (
        element("a", element("code", name), href=name)
        for name in ("trials.csv", "study.journal", "events.jsonl", "run.yaml", "pareto.png")
        if (summary.path / name).exists()
    )
    return join([*parts, element("p", "Beside this page: ", join(beside, ", "), ".", class_="quiet")])


def _command(purpose: str, words: list[str]) -> Markup:
    return join([element("p", purpose), element("pre", shlex.join(words))])


def _borrowing(summary: Summary, run: str) -> list[Markup]:
    """How to search a lower budget with this run's supernet, once that is trained, if it was trained on lower ones."""
    trained = any(phase.name == "supernet" and phase.finished for phase in summary.phases)
    ranges = (summary.record.manifest.get("method") or {}).get("coverage") or {}
    # Blocks are trained for one budget, and are lent to no other.
    if not trained or summary.scorer == "blockwise" or len(summary.budgets) != 1:
        return []
    first = summary.budgets[0]
    least = ranges.get("low", {}).get(first.metric)
    share = max(0.75, 1.2 * least / first.bound) if least else 1.0
    if share > 0.95:
        return []
    space, lower = summary.options.get("space", "coatnet"), _budget(first, first.bound * share)
    words = ["nas-search", "--space", str(space), "--budget", lower, "--supernet", run]
    return [_command("Search it below this budget with the same supernet, without training one again:", words)]


def _lower_budget(summary: Summary) -> str | None:
    """The first budget, lowered to what the cheapest network that was scored needs; None if that is hardly less."""
    if not summary.budgets or not summary.complete:
        return None
    first = summary.budgets[0]
    known = [cost for trial in summary.complete if (cost := trial.cost.value(first.metric))]
    # Two digits, rounded up, so that this network fits.
    least = min(known, default=first.bound)
    unit = 10 ** (math.floor(math.log10(least)) - 1)
    lowered = math.ceil(least / unit) * unit
    return _budget(first, lowered) if lowered < first.bound else None


def _budget(like: Budget, bound: float) -> str:
    return str(Budget(metric=like.metric, bound=bound, device=like.device))


def _phases(summary: Summary) -> Markup:
    done = {phase.name: phase for phase in summary.phases}
    names = [*summary.phase_names, *(name for name in done if name not in summary.phase_names)]
    rows: list[tuple[object, object]] = []
    for name in names:
        phase = done.get(name)
        if phase is None:
            rows.append((name, "not begun"))
        elif not phase.finished:
            rows.append((name, "begun, not finished"))
        else:
            rows.append((name, duration(phase.seconds)))
    ended = summary.record.last(RunFinished)
    if ended is not None:
        rows.append(("in all", duration(ended.seconds)))
    stops = [event.phase for event in summary.record.events(PhaseInterrupted)]
    if stops:
        rows.append(("interrupted", f"{count(len(stops), 'time')}, in {listing(dict.fromkeys(stops))}"))
    resumed = summary.record.events(RunResumed)
    if resumed:
        rows.append(("resumed", count(len(resumed), "time")))
    return pairs(rows)


def _options(summary: Summary) -> Markup:
    names = dict.fromkeys([*summary.options, *summary.plan])
    rows = [
        (
            _flag(name) if name in summary.options else name,
            _asked(summary, name),
            _used(summary, name),
        )
        for name in names
    ]
    return element(
        "details",
        element("summary", f"All {count(len(rows), 'option')}, as asked for and as used"),
        table(("Option", "Asked for", "Used"), rows),
    )


def _asked(summary: Summary, name: str) -> str:
    return _shown(summary.options.get(name)) if name in summary.options else ABSENT


def _used(summary: Summary, name: str) -> str:
    return _shown(summary.setting(name))


def _shown(value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value)) or ABSENT
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items()) or ABSENT
    return str(value)


def _flag(name: str) -> str:
    return "--budget" if name == "budgets" else flag(name)
