"""`nas status`: how far a run is, from another terminal or another machine that sees its folder."""

from __future__ import annotations

import argparse
import socket
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.console import Console
from nas.cli.meter import pace
from nas.cli.outlook import front_words
from nas.cli.parsing import reader
from nas.formats import duration, score_text
from nas.options.kinds import Text

if TYPE_CHECKING:
    from nas.report.status import PhaseStatus, Status

DESCRIPTION = """\
Show how far a run is: its phase, rate and time left, the best network so far, whether its process lives, and what to
do next. It only reads the run's folder, so the search may be running here, on another machine, or not at all.

  nas status runs/a"""
_LABEL, _LINE = 11, 78


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=reader("run", Text()), metavar="RUN", help="a run folder")


def run(args: argparse.Namespace, console: Console) -> None:
    from nas.report.status import run_status

    status = run_status(Path(args.folder))
    console.document(status_document(status))
    for line in status_lines(status, at=datetime.now(UTC)):
        console.say(line)


def status_document(status: Status) -> dict[str, Any]:
    """Returns the state of a run as plain JSON; times are ISO 8601, durations seconds."""
    phase, holder, best = status.phase, status.holder, status.best
    return {
        "run": str(status.run),
        "state": status.state,
        "process": holder and {"pid": holder.process, "host": holder.host},
        "phase": phase and {
            "name": phase.name,
            "number": phase.number,
            "of": phase.of,
            "done": phase.steps and phase.steps.done,
            "total": phase.steps and phase.steps.total,
            "unit": phase.steps and phase.steps.unit,
            "per_second": phase.rate,
            "seconds": phase.seconds,
            "seconds_planned": phase.planned,
            "seconds_left": phase.seconds_left,
        },
        "seconds": status.seconds,
        "seconds_left": status.seconds_left,
        "trials": status.trials,
        "failed": status.failed,
        "best": best and {
            "figure": best.figure, "value": best.value, "name": best.name, "macs": best.macs, "params": best.params
        },
        "front": status.front,
        "started": status.started.isoformat(),
        "last_event": status.last_event.isoformat(),
        "next": {"purpose": status.next[0], "command": status.next[1]},
    }  # fmt: skip


def status_lines(status: Status, *, at: datetime) -> list[str]:
    """Returns the lines of a run's state, each at most 78 characters unless a path is longer.

    Args:
        at: The present.
    """
    if status.state == "planning":
        return _planning_lines(status)
    rows = _phase_rows(status.phase)
    spent = f"{duration(status.seconds)} so far" if status.state != "finished" else f"took {duration(status.seconds)}"
    left = "" if status.seconds_left is None else f", about {duration(status.seconds_left)} left"
    rows.append(("whole run", spent + left))
    if status.trials:
        rows.append(("trials", f"{status.trials:,}" + (f", {status.failed:,} failed" if status.failed else "")))
    best = status.best
    rows.append(("best", f"{best.figure} {score_text(best.value)}: {best.name}, {best.costs}" if best else "none yet"))
    rows += [("" if number else "front", words) for number, words in enumerate(front_words(status.front))]
    rows.append(("last event", f"{duration(max(0.0, (at - status.last_event).total_seconds()))} ago"))
    lines = [f"{status.run}: {_state(status)}"]
    for label, text in rows:
        labeled = label.ljust(_LABEL) + text
        lines += textwrap.wrap(labeled, _LINE, subsequent_indent=" " * _LABEL, break_on_hyphens=False)
    return [*lines, "", _next_line(status)]


def _planning_lines(status: Status) -> list[str]:
    return [
        f"{status.run}: {_state(status)}, for {duration(max(1.0, status.seconds))}",
        "Images are read, this machine's speed is measured, and the plan is made. For a",
        "latency budget on a new device that takes minutes. Nothing is recorded yet.",
        "",
        _next_line(status),
    ]


def _next_line(status: Status) -> str:
    purpose, command = status.next
    return f"{purpose[:1].upper()}{purpose[1:]}:  {command}"


def _state(status: Status) -> str:
    if status.holder is None or status.holder.process is None:
        return status.state
    process, host = status.holder.process, status.holder.host
    where = "" if host in (None, socket.gethostname()) else f" on {host}"
    return f"{status.state} (pid {process}{where})"


def _phase_rows(phase: PhaseStatus | None) -> list[tuple[str, str]]:
    if phase is None:
        return []
    place = "" if phase.number is None else f" ({phase.number} of {phase.of})"
    steps = phase.steps
    parts: list[str] = []
    if steps is not None and steps.total is not None:
        parts.append(f"{steps.done:,}/{steps.total:,} {steps.unit} ({min(100, 100 * steps.done // steps.total)} %)")
    elif steps is not None:
        parts.append(f"{steps.done:,} {steps.unit}")
    if phase.rate is not None and steps is not None:
        parts.append(pace(phase.rate, steps.unit))
    parts.append(f"{duration(phase.seconds)} so far")
    if phase.seconds_left is not None:
        parts.append(f"about {duration(phase.seconds_left)} left")
    elif phase.planned is not None:
        parts.append(f"planned {duration(phase.planned)}")
    return [("phase", f"{phase.name}{place}"), ("progress", ", ".join(parts))]
