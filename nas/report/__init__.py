"""Tables, plots and report page of a run, all rebuilt from its events at any stage of the run.

What is listed here is imported when it is first used: a run's state needs no pandas and no matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOMES = {
    "Summary": "nas.report.summary",
    "draw_pareto": "nas.report.pareto",
    "summarise": "nas.report.summary",
    "trials_frame": "nas.report.tables",
    "write_pareto": "nas.report.pareto",
    "write_report": "nas.report.page",
    "write_tables": "nas.report.tables",
}


def rebuild(run: str | Path, out: str | Path | None = None) -> list[Path]:
    """Rebuilds trials.csv, study.journal, pareto.png and report.html of a run; returns their paths.

    Args:
        out: Where they are written, such as for a run that is read-only; the run's folder by default.

    Raises:
        RunError: If it is not a run, is damaged, or the folder cannot be written to.
    """
    from nas.report.page import save_report
    from nas.report.pareto import save_pareto
    from nas.report.summary import summarise
    from nas.report.tables import CSV, save_journal, saving_trials
    from nas.run import read_run
    from nas.run.files import make_folder

    record = read_run(run)
    folder = record.path if out is None else Path(out)
    make_folder(folder)
    with saving_trials(folder) as add:
        summary = summarise(record, add)
    return [
        folder / CSV,
        save_journal(summary, folder),
        save_pareto(summary, folder),
        save_report(summary, folder),
    ]


def __getattr__(name: str) -> Any:
    """Imports what is asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'nas.report' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
