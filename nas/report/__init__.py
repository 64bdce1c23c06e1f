"""Tables, plots and report page of a run, all rebuilt from its events at any stage of the run."""

from __future__ import annotations

from pathlib import Path

from nas.report.page import write_report
from nas.report.pareto import draw_pareto, write_pareto
from nas.report.summary import Summary, summarise
from nas.report.tables import trials_frame, write_tables

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


def rebuild(run: str | Path) -> list[Path]:
    """Rebuilds trials.csv, study.journal, pareto.png and report.html of a run; returns their paths.

    Raises:
        RunError: If it is not a run, is damaged, or cannot be written to.
    """
    return [*write_tables(run), write_pareto(run), write_report(run)]
