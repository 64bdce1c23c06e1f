"""The commands suggested at the end of the report."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from nas.budget import Budget
from nas.errors import NasError
from nas.formats import further_training
from nas.methods.protocol.report import Command
from nas.options import SearchOptions, flag
from nas.report.summary import Summary
from nas.report.tally import MOST_TRIALS

_FILES = ("trials.csv", "study.journal", "events.jsonl", "run.yaml", "pareto.png")


def next_commands(summary: Summary) -> list[Command]:
    """Returns the commands that a reader may run next, each with its purpose."""
    run = str(summary.path)
    needed = import_words(summary)
    found: list[Command] = []

    def add(purpose: str, *words: str) -> None:
        found.append(Command(purpose=purpose, words=words))

    if not summary.finished:
        add("Continue this run:", "nas-search", "--resume", run)
    best = next((c.path for c in summary.winners if c.path), None)
    if best is not None:
        folder = best if best.startswith("/") else f"{run}/{best}"
        config = f"{folder}/architecture.yaml"
        data = summary.record.data
        add("Classify images with the best network:", "nas", "predict", folder, "photo.jpg", *needed)
        add("Evaluate it on images with known classes:", "nas", "evaluate", folder, "--data", data, *needed)
        further = further_training(folder, summary.options.get("seed", 0)) if summary.options.get("parent") else []
        add("Train it for longer:", "nas", "train", config, "--data", data, *further, *needed)
        add("Profile it stage by stage:", "nas", "profile", config, *needed)
    if summary.winners:
        add("Export a network again, by its rank:", "nas", "export", run, "--rank", "1")
    if summary.finished:
        add("Re-create this page:", "nas", "report", run)
    lower, options = _lower_budget(summary), _readable_options(summary)
    if lower is not None and options is not None:
        words = options.command(budgets=tuple(map(str, (lower, *summary.budgets[1:]))))
        add("Search the same way under a lower budget:", *words)
    if summary.method_section is not None:
        found += summary.method_section.commands
    many = f"{MOST_TRIALS:,} of " if summary.tally.total > MOST_TRIALS else ""
    add(f"Browse {many}the trials in optuna-dashboard:", "optuna-dashboard", f"{run}/study.journal")
    return found


def import_words(summary: Summary) -> list[str]:
    """Returns the options that import the files that a run's networks need."""
    return [word for path in summary.record.part("imports") for word in (flag("imports"), path)]


def repeat_command(summary: Summary) -> Command | None:
    """Returns the command of the same search, with its seed; None if there is none, or this version cannot read it."""
    options = _readable_options(summary)
    if options is None:
        return None
    return Command(purpose="Repeat this search:", words=tuple(options.command()))


def gives_the_same(summary: Summary) -> bool:
    """Returns whether that command finds the same networks: neither the plan nor the trials depend on timing."""
    options = _readable_options(summary)
    timed = options is None or options.time is not None or options.asynchronous or bool(options.cpu_workers)
    return not timed and str(summary.record.part("plan").get("device")) == "cpu"


def files_beside(folder: Path) -> list[str]:
    """Returns the names of the files to link from a page in a folder."""
    return [name for name in _FILES if (folder / name).exists()]


def _readable_options(summary: Summary) -> SearchOptions | None:
    """Returns the options of a run; None if no command could give them, or this version cannot read them."""
    if not summary.record.is_repeatable:
        return None
    try:
        return SearchOptions.from_dict(summary.record.part("options"))
    except NasError:
        return None


def _lower_budget(summary: Summary) -> Budget | None:
    """Returns the first budget, lowered to the cost of the cheapest scored network; None if that is hardly lower."""
    if not summary.budgets or not summary.tally.complete:
        return None
    first = summary.budgets[0]
    # Two digits, rounded up, so that this network fits.
    least = summary.tally.least(first.metric) or first.bound
    unit = 10 ** (math.floor(math.log10(least)) - 1)
    lowered = float(f"{math.ceil(least / unit) * unit:.2g}")
    return replace(first, bound=lowered) if lowered < first.bound else None
