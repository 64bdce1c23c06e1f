"""`nas report`: rebuilds a run's report and plots from its record, or puts the fronts of several runs side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.budget import format_quantity
from nas.cli.console import Console, table
from nas.cli.parsing import reader
from nas.errors import OptionError
from nas.formats import ABSENT, duration
from nas.options import SearchOptions, declared
from nas.options.kinds import Text
from nas.options.objectives import front_name, objectives

if TYPE_CHECKING:
    from nas.report.fronts import Fronts

DESCRIPTION = """\
Rebuild a run's report.html, pareto.png and tables from its record. The run may still be in progress.
With several runs on the same data: their fronts of trained networks side by side, with hypervolume, and a picture.

  nas report runs/a
  nas report /shared/runs/a --out mine      # of a run that is read-only
  nas report runs/a runs/b --picture fronts.png"""
_PICTURE = "fronts.png"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", nargs="+", type=reader("run", Text()), metavar="RUN", help="a run folder, or its URL"
    )
    parser.add_argument(
        "--out", type=reader("out", Text()), metavar="DIR", help="where they are written (default: the run folder)"
    )
    group = parser.add_argument_group("with several runs")
    group.add_argument(
        "--objective",
        type=reader("objective", declared(SearchOptions)["objective"].kind),
        metavar="COST",
        help="costs of the fronts: macs, params, latency or memory; several with commas (default: the runs' own)",
    )
    group.add_argument(
        "--picture", type=reader("picture", Text()), metavar="FILE", help=f"the picture's file (default: {_PICTURE})"
    )


def run(args: argparse.Namespace, console: Console) -> None:
    given = vars(args)
    from nas.run import read_run
    from nas.run.remote import local_copy

    folders = [local_copy(folder, console.note) for folder in given["folders"]]

    for folder in folders:
        read_run(folder)  # checks the runs before pandas is imported
    if len(folders) > 1:
        if "out" in given:
            raise OptionError("--out is for the report of one run: give one, or --picture FILE for several.")
        _compare(folders, given, console)
        return
    for name in ("objective", "picture"):
        if name in given:
            raise OptionError(f"--{name} is for fronts side by side: give two or more runs, or leave it out.")
    from nas.report import rebuild

    written = rebuild(folders[0], given.get("out"))
    console.document({"run": folders[0], "written": written})
    for path in written:
        console.say(str(path))


def _compare(folders: Sequence[Path], given: dict[str, Any], console: Console) -> None:
    from nas.report.fronts import compare_runs, write_fronts

    costs = objectives(given["objective"], ()) if "objective" in given else None
    fronts = compare_runs(folders, costs)
    picture = write_fronts(fronts, given.get("picture", _PICTURE))
    console.document({**_document(fronts), "picture": picture})
    for line in front_lines(fronts):
        console.say(line)
    console.say(f"Picture  {picture}")


def front_lines(fronts: Fronts) -> list[str]:
    """Returns the lines of a comparison: a row per run, what differs, and the networks of each front."""
    rows = [
        [
            str(each.run),
            each.method,
            " and ".join(each.budgets) or ABSENT,
            str(each.trained),
            str(len(each.front)),
            f"{max(network.test_accuracy for network in each.front):.4f}",
            f"{each.hypervolume:.4f}",
            duration(each.seconds),
        ]
        for each in fronts.runs
    ]
    best = f"best test {fronts.accuracy}"
    header = ["run", "method", "budget", "trained", "on the front", best, "hypervolume", "time"]
    lines = [*table(header, rows, left=(0, 1, 2)), ""]
    point = ", ".join(format_quantity(metric, worst) for metric, worst in fronts.reference.items())
    front = front_name(fronts.objectives, fronts.accuracy)
    lines.append(f"Fronts of validation {front}; their hypervolume is of test accuracies,")
    lines.append(f"against the reference point (accuracy 0, {point}); 1 would be accuracy 1 at no cost.")
    lines += [*fronts.notes, ""]
    networks = [
        [
            str(each.run),
            network.name,
            f"{network.validation_accuracy:.4f}",
            f"{network.test_accuracy:.4f}",
            *(format_quantity(metric, network.costs[metric]) for metric in fronts.objectives),
            network.path or ABSENT,
        ]
        for each in fronts.runs
        for network in each.front
    ]
    header = ["run", "network", "validation", "test", *({"macs": "MACs"}.get(m, m) for m in fronts.objectives)]
    return [*lines, *table([*header, "folder"], networks, left=(0, 1, len(header))), ""]


def _document(fronts: Fronts) -> dict[str, Any]:
    return {
        "objectives": fronts.objectives,
        "reference": {"accuracy": 0.0, **fronts.reference},
        "notes": fronts.notes,
        "runs": fronts.runs,
    }
