"""The state of a run while it is made, from its folder alone: how far it is, how long it takes, what is best so far."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

from nas.errors import RunError
from nas.report.candidates import Candidate
from nas.report.phase_status import PhaseStatus, phase_status, planned_seconds
from nas.report.summary import Summary, cost_words, summarise
from nas.run import Holder, is_training, lock_holder, read_run
from nas.run.events import RunFinished, RunResumed, now
from nas.run.sessions import earlier_seconds

State: TypeAlias = Literal["planning", "running", "stopped", "finished"]
_DEPTH = 3
_TELLING = 0.1
"""The least share of the planned time that must be over before the machine is judged by how long that took."""
_RECORD, _LOCK = "events.jsonl", ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best network so far: of the finalists that are trained, else of the trials.

    Attributes:
        figure: What `value` is: "test accuracy", "validation accuracy" or "score".
    """

    figure: str
    value: float
    name: str
    macs: int | None
    params: int | None

    @property
    def costs(self) -> str:
        return cost_words(self.macs, self.params)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """A trial of the front of score and costs; `cost` is its first objective's, in the unit of `metric`."""

    name: str
    score: float
    metric: str
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of a run.

    Attributes:
        state: "planning" before anything is recorded: data are read, speed or latency measured, the method prepared.
        holder: The process that writes it; None unless the run is planned or running.
        phase: None between phases, and at the end.
        seconds: Working time so far, over all sessions.
        seconds_left: Of the whole run: `PhaseStatus.seconds_left`, and the plan's seconds of later phases, times how
            much longer than planned the others take.
        trials, failed: Scored so far, and how many of them failed.
        front: The trials that no other beats in score and costs, best score first.
        started, last_event: Times of the first and the latest event.
        next: What to do now: its purpose and its command.
    """

    run: Path
    state: State
    holder: Holder | None
    phase: PhaseStatus | None
    seconds: float
    seconds_left: float | None
    trials: int
    failed: int
    best: Best | None
    front: tuple[FrontPoint, ...]
    started: datetime
    last_event: datetime
    next: tuple[str, str]


def run_status(folder: str | Path, *, at: datetime | None = None) -> Status:
    """Returns the state of a run; another process, here or elsewhere, may be writing it.

    Args:
        at: The time that counts as now.

    Raises:
        RunError: If it is not a run or is damaged.
    """
    holder = lock_holder(Path(folder))  # before the record: a run that ends in between is then finished, not stopped
    if holder is not None and not (Path(folder) / _RECORD).exists() and not is_training(Path(folder)):
        return _planning(Path(folder), holder, at or now())
    summary = summarise(read_run(folder))
    record, at = summary.record, at or now()
    state: State = "finished" if summary.finished else "stopped" if holder is None else "running"
    until = at if state == "running" else record.events()[-1].time
    phase = None if state == "finished" else phase_status(summary, until)
    best = _best(summary)
    return Status(
        run=summary.path,
        state=state,
        holder=holder,
        phase=phase,
        seconds=_seconds(summary, until),
        seconds_left=None if state == "finished" else _seconds_left(summary, phase),
        trials=summary.tally.total,
        failed=summary.tally.failed,
        best=best,
        front=tuple(_front(summary)),
        started=record.events()[0].time,
        last_event=record.events()[-1].time,
        next=_next(summary, state),
    )


def _planning(folder: Path, holder: Holder, at: datetime) -> Status:
    began = datetime.fromtimestamp((folder / _LOCK).stat().st_mtime, at.tzinfo)
    return Status(
        run=folder,
        state="planning",
        holder=holder,
        phase=None,
        seconds=max(0.0, (at - began).total_seconds()),
        seconds_left=None,
        trials=0,
        failed=0,
        best=None,
        front=(),
        started=began,
        last_event=began,
        next=("look again, once the plan is made", f"nas status {shlex.quote(str(folder))}"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run in a list of runs.

    Attributes:
        status: None for a run that cannot be read; `error` says why.
        bytes: Size on disk.
    """

    run: Path
    status: Status | None
    error: str | None
    bytes: int

    @property
    def state(self) -> str:
        return "damaged" if self.status is None else self.status.state


def list_runs(folder: str | Path) -> list[RunRow]:
    """Returns the runs in a folder and up to two folders below it, the latest first; damaged ones at the end.

    Raises:
        RunError: If the folder cannot be read.
    """
    rows: list[RunRow] = []
    for run in _runs(Path(folder), _DEPTH):
        status, error = None, None
        try:
            status = run_status(run)
        except RunError as fault:
            error = str(fault)
        rows.append(RunRow(run=run, status=status, error=error, bytes=_bytes(run)))
    return sorted(rows, key=lambda row: (row.status is None, -(row.status.started.timestamp() if row.status else 0.0)))


def _runs(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
        names = {each.name for each in entries}
        if (folder / _RECORD).is_file() or (names == {_LOCK} and lock_holder(folder) is not None):
            yield folder
            return
        below = sorted(each.name for each in entries if each.is_dir(follow_symlinks=False))
    except OSError as fault:
        reason = (fault.strerror or str(fault)).lower()
        raise RunError(f"Cannot look for runs in {folder}: {reason}. Give a folder that holds runs.") from fault
    for name in below if depth else ():
        yield from _runs(folder / name, depth - 1)


def _bytes(folder: Path) -> int:
    """Returns what a folder takes on disk; a file with several names counts once."""
    found: dict[tuple[int, int], int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                file = os.lstat(os.path.join(place, name))
            except FileNotFoundError:
                continue  # a temporary file of a run in progress
            if stat.S_ISREG(file.st_mode):
                found[file.st_dev, file.st_ino] = 512 * file.st_blocks
    return sum(found.values())


# -- time ----------------------------------------------------------------------------------------------------


def _seconds(summary: Summary, until: datetime) -> float:
    ended = summary.record.last(RunFinished)
    if ended is not None:
        return ended.seconds
    resumed = summary.record.last(RunResumed)
    began = (resumed or summary.record.events()[0]).time
    return earlier_seconds(summary.record) + max(0.0, (until - began).total_seconds())


def _seconds_left(summary: Summary, phase: PhaseStatus | None) -> float | None:
    planned = planned_seconds(summary)
    if not planned or (phase is not None and phase.seconds_left is None):
        return None
    took = {each.name: each.seconds or 0.0 for each in summary.phases if each.finished}
    left = 0.0
    if phase is not None and phase.seconds_left is not None:
        left = phase.seconds_left
        took[phase.name] = phase.seconds + left
    # Exports train nothing: a slow machine is hardly slower there.
    trains = {name for name in planned if name != "export"}
    known = sum(planned[name] for name in took if name in trains)
    # A phase of seconds says nothing of one of minutes.
    tells = known > _TELLING * sum(planned.values())
    ratio = sum(seconds for name, seconds in took.items() if name in trains) / known if tells else 1.0
    # A machine that is slow for one phase is slow for all; one that was planned too long says nothing of the others.
    ratio = max(1.0, ratio)
    begun = {each.name for each in summary.phases}
    return left + sum(
        seconds * (ratio if name in trains else 1.0) for name, seconds in planned.items() if name not in begun
    )


# -- the best network, and what to do ------------------------------------------------------------------------


def _best(summary: Summary) -> Best | None:
    trained = [each for each in summary.candidates if each.epochs is not None and each.epochs_done == each.epochs]
    trained = summary.winners or [each for each in trained if each.validation_accuracy is not None]
    if trained:
        return _best_trained(summary, trained[0])
    best = summary.tally.best
    if best is None:
        return None
    return Best(
        figure="score",
        value=best.score or 0.0,
        name=best.layout or best.architecture.digest,
        macs=best.cost.macs,
        params=best.cost.params,
    )


def _front(summary: Summary) -> Iterator[FrontPoint]:
    metric = summary.objective
    for trial in sorted(summary.front, key=lambda trial: (-(trial.score or 0.0), trial.number)):
        cost = trial.cost.value(metric)
        if trial.score is not None and cost is not None:
            name = trial.layout or trial.architecture.digest
            yield FrontPoint(name=name, score=trial.score, metric=metric, cost=float(cost))


def _best_trained(summary: Summary, best: Candidate) -> Best | None:
    kind, value = ("test", best.test_accuracy)
    if value is None:
        kind, value = ("validation", best.validation_accuracy)
    if value is None:
        return None
    return Best(figure=f"{kind} {summary.accuracy}", value=value, name=best.name, macs=best.macs, params=best.params)


def _next(summary: Summary, state: State) -> tuple[str, str]:
    run = shlex.quote(str(summary.path))
    if state == "running":
        return "see what is there so far", f"nas report {run}"
    if state == "stopped":
        return "continue it", f"nas-search --resume {run}"
    best = next((each.path for each in summary.winners if each.path), None)
    if best is None:
        return "see the report", f"nas report {run}"
    folder = best if best.startswith("/") else f"{summary.path}/{best}"
    return "try the best network", f"python {shlex.quote(f'{folder}/model.py')}"
