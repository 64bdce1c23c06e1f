"""Tables, plots and report page of a run, all rebuilt from its events at any stage of the run."""

from __future__ import annotations

from pathlib import Path

from nas.report.page import save_report, write_report
from nas.report.pareto import draw_pareto, save_pareto, write_pareto
from nas.report.summary import Summary, summarise
from nas.report.tables import save_tables, trials_frame, write_tables
from nas.run import read_run
from nas.run.files import make_folder

__all__ = [
    "Summary",
    "draw_pareto",
    "rebuild",
    "summarise",
    "trials_frame",
    "write_pareto",
    "write_report",
    "write_tables",
]


def rebuild(run: str | Path, out: str | Path | None = None) -> list[Path]:
    """Rebuilds trials.csv, study.journal, pareto.png and report.html of a run; returns their paths.

    Args:
        out: Where they are written, such as for a run that is read-only; the run's folder by default.

    Raises:
        RunError: If it is not a run, is damaged, or the folder cannot be written to.
    """
    summary = summarise(read_run(run))
    folder = summary.path if out is None else Path(out)
    make_folder(folder)
    return [*save_tables(summary.record, folder), save_pareto(summary, folder), save_report(summary, folder)]
