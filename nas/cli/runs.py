"""`nas runs`: the runs in a folder, with their state, size on disk, trials and best network."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.budget import format_quantity
from nas.cli.console import Console, table
from nas.cli.parsing import reader
from nas.cli.status import status_document
from nas.formats import ABSENT, moment, score_text
from nas.options.kinds import Text

if TYPE_CHECKING:
    from nas.report.status import RunRow

DESCRIPTION = """\
List the runs in a folder and up to two folders below it: state (planning, running, stopped, finished, damaged), size on
disk, trials, the best network so far, and when the run began.

  nas runs
  nas runs experiments/budgets"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", type=reader("folder", Text()), metavar="FOLDER", help="where to look (default: runs)"
    )


def run(args: argparse.Namespace, console: Console) -> None:
    folder = Path(vars(args).get("folder", "runs"))
    from nas.report.status import list_runs

    rows = list_runs(folder)
    console.document([_document(row) for row in rows])
    for line in run_lines(rows, folder):
        console.say(line)


def run_lines(rows: Sequence[RunRow], folder: Path) -> list[str]:
    """Returns a table of runs, and why damaged ones cannot be read."""
    if not rows:
        return [f"No runs in {folder}."]
    shown = [
        [
            str(row.run),
            row.state,
            format_quantity("memory_bytes", row.bytes),
            f"{row.status.trials:,}" if row.status else ABSENT,
            _best(row),
            moment(row.status.started.isoformat()) if row.status else ABSENT,
        ]
        for row in rows
    ]
    damaged = [str(row.error) for row in rows if row.error is not None]
    lines = table(["run", "state", "size", "trials", "best", "started"], shown, left=(0, 1, 4, 5))
    return [*lines, *([""] if damaged else []), *damaged]


def _best(row: RunRow) -> str:
    best = row.status.best if row.status else None
    return ABSENT if best is None else f"{best.figure} {score_text(best.value)} ({best.name})"


def _document(row: RunRow) -> dict[str, Any]:
    found = {"run": str(row.run), "state": row.state, "bytes": row.bytes, "error": row.error}
    return {**(status_document(row.status) if row.status else {}), **found}
