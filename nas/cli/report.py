"""`nas report`: rebuilds a run's report and plots from its record."""

from __future__ import annotations

import argparse
from pathlib import Path

from nas.cli.console import Console
from nas.cli.parsing import reader
from nas.options.kinds import Text

DESCRIPTION = """\
Rebuild a run's report.html, pareto.png and tables from its record. The run may still be in progress.

  nas report runs/a
  nas report /shared/runs/a --out mine      # of a run that is read-only"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=reader("run", Text()), metavar="RUN", help="a run folder")
    parser.add_argument(
        "--out", type=reader("out", Text()), metavar="DIR", help="where they are written (default: the run folder)"
    )


def run(args: argparse.Namespace, console: Console) -> None:
    folder = Path(args.folder)
    from nas.run import read_run

    read_run(folder)  # checks the run before pandas is imported
    from nas.report import rebuild

    written = rebuild(folder, vars(args).get("out"))
    console.document({"run": folder, "written": written})
    for path in written:
        console.say(str(path))
