"""The trials of a run for other tools: `trials.csv`, and `study.journal` for optuna-dashboard."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from nas.report.summary import Summary, stage_depths, stage_numbers, stage_widths, summarise
from nas.run import RunRecord, read_run, replacing
from nas.texts import printable
from nas.trial import Trial

CSV = "trials.csv"
JOURNAL = "study.journal"
_AT_A_TIME = 10_000
"""Rows of `trials.csv` that are written at a time."""
COLUMNS = (
    *("number", "digest", "status", "score", "macs", "params", "latency_s", "peak_memory_bytes", "seconds"),
    *("seed", "layout", "depths", "widths", "origin", "batch", "error"),
)


def write_tables(run: str | Path) -> list[Path]:
    """Rebuilds `trials.csv` and `study.journal` of a run from its events; returns their paths.

    Raises:
        RunError: If it is not a run, is damaged, or cannot be written to.
    """
    record = read_run(run)
    with saving_trials(record.path) as add:
        summary = summarise(record, add)
    return [record.path / CSV, save_journal(summary, record.path)]


@contextmanager
def saving_trials(folder: Path) -> Iterator[Callable[[Trial], None]]:
    """Gives what takes in every trial, in order, for `trials.csv` in a folder; few are in memory at a time."""
    rows: list[dict[str, object]] = []
    with replacing(folder / CSV) as temporary:

        def write(*, header: bool) -> None:
            _frame(rows).map(without_formula).to_csv(temporary, mode="a", header=header, index=False)
            rows.clear()

        def add(trial: Trial) -> None:
            if len(rows) == _AT_A_TIME:
                write(header=not temporary.exists())
            rows.append(_row(trial))

        yield add
        write(header=not temporary.exists())


def save_journal(summary: Summary, folder: Path) -> Path:
    """Writes the trials that a summary has, of very many a part, to `study.journal` in a folder; returns its path."""
    with replacing(folder / JOURNAL) as temporary:
        _write_journal(summary, temporary)
    return folder / JOURNAL


def trials_frame(record: RunRecord) -> pd.DataFrame:
    """Returns one row per trial, with the columns `COLUMNS`; values that were not measured are missing.

    Texts are on one line and can be encoded.
    """
    return _frame([_row(trial) for trial in record.each_trial()])


def _frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=pd.Index(COLUMNS))
    # Plain integer columns with missing values would be written as floats.
    return frame.astype({"peak_memory_bytes": "Int64"})


def without_formula(value: object) -> object:
    """Returns a cell's value; a text that a spreadsheet would run as a formula is led by an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


def _row(trial: Trial) -> dict[str, object]:
    architecture, cost = trial.architecture, trial.cost
    return {
        "number": trial.number,
        "digest": architecture.digest,
        "status": trial.status,
        "score": trial.score,
        "macs": cost.macs,
        "params": cost.params,
        "latency_s": cost.latency_s,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "seconds": trial.seconds,
        "seed": trial.seed,
        "layout": printable(trial.layout),
        "depths": "-".join(map(str, stage_depths(architecture))),
        "widths": "-".join("?" if width is None else str(width) for width in stage_widths(architecture)),
        "origin": printable(trial.origin),
        "batch": trial.batch,
        "error": None if trial.error is None else printable(trial.error),
    }


def _write_journal(summary: Summary, path: Path) -> None:
    # Optuna leaves a lock file and syncs every line, so it writes to a temporary folder.
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            journal = Path(scratch) / JOURNAL
            study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(journal))),
                study_name=summary.path.resolve().name,
                directions=["maximize", "minimize"],
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names(["score", "macs"])
            study.add_trials(_frozen_trials(summary))
            path.write_bytes(journal.read_bytes())
    finally:
        optuna.logging.set_verbosity(verbosity)


def _frozen_trials(summary: Summary) -> list[FrozenTrial]:
    trials = summary.trials
    times = [time for time, _ in summary.record.trials_at([trial.number for trial in trials])]
    params = [_readable(trial) for trial in trials]
    distributions = _distributions(params)
    frozen: list[FrozenTrial] = []
    for trial, time, own in zip(trials, times, params, strict=True):
        one = optuna.trial.create_trial(
            state=TrialState.COMPLETE if trial.complete else TrialState.FAIL,
            values=None if trial.score is None else [trial.score, float(trial.cost.macs)],
            params=own,
            distributions={name: distributions[name] for name in own},
            user_attrs=_attributes(trial),
        )
        one.datetime_complete = time
        one.datetime_start = one.datetime_complete - timedelta(seconds=trial.seconds)
        frozen.append(one)
    return frozen


def _readable(trial: Trial) -> dict[str, Any]:
    """Returns a few parameters for charts: the layout, and depth and width of each stage."""
    params: dict[str, Any] = {"layout": printable(trial.layout)}
    numbers, architecture = stage_numbers(trial), trial.architecture
    params |= {f"depth_{i}": depth for i, depth in zip(numbers, stage_depths(architecture), strict=True)}
    widths = zip(numbers, stage_widths(architecture), strict=True)
    return params | {f"width_{i}": width for i, width in widths if width is not None}


def _distributions(params: list[dict[str, Any]]) -> dict[str, BaseDistribution]:
    """Returns the range of each parameter over all trials; Optuna requires the same range in each trial."""
    used: dict[str, set[Any]] = {}
    for own in params:
        for name, value in own.items():
            used.setdefault(name, set()).add(value)
    return {
        name: CategoricalDistribution(sorted(values)) if name == "layout" else IntDistribution(min(values), max(values))
        for name, values in used.items()
    }


def _attributes(trial: Trial) -> dict[str, Any]:
    row = _row(trial)
    shown = (
        "digest",
        "params",
        "latency_s",
        "seconds",
        "seed",
        "depths",
        "widths",
        "origin",
        "batch",
        "error",
    )
    return {name: row[name] for name in shown if row[name] is not None}
