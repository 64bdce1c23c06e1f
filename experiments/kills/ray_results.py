"""What became of runs on a cluster, as rows of `results/kills/ray.csv` and their sums in `ray.json`."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cluster import ROOT
from faults import KINDS, Fault, every_fault

from nas.run import atomic_write

sys.path.insert(0, str(ROOT / "experiments"))
from provenance import provenance

RESULTS = ROOT / "results" / "kills"
FULL_RUNS = 40
"""Runs in which each fault of `every_fault` is planned once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run and what it suffered.

    Attributes:
        faults: As `kind@phase`, those that were done.
        missed: Those whose phase was over, or had no worker or checkpoint, before they could be done.
        ends: How each session ended: "done", "killed" by the fault, "status N", or "hung".
        went_on: On what each later session ran: "cluster", or "0 workers".
        lost, repeated, over_budget, wrong, hung: See README.md.
        unclear: Sessions that ended without a line that says why, or with a traceback.
        differs: What differs from an undisturbed run; "" is nothing, "not promised" after a network that failed.
    """

    run: int
    method: str
    faults: str
    missed: str
    ends: str
    went_on: str
    lost: int
    repeated: int
    over_budget: int
    wrong: int
    hung: int
    unclear: int
    differs: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An undisturbed run: its folder, and how long each phase took."""

    path: Path
    seconds: dict[str, float]


def rows_of(work: Path) -> list[dict[str, Any]]:
    """What is known of the runs so far, each an `Outcome`."""
    return [json.loads(path.read_text()) for path in sorted(work.glob("[0-9][0-9].json"))]


def not_suffered(rows: list[dict[str, Any]]) -> list[tuple[Fault, str]]:
    """Returns the faults of `every_fault` that no run has suffered yet."""
    suffered = {(fault, row["method"]) for row in rows for fault in row["faults"].split()}
    return [
        (fault, method)
        for fault, method in every_fault()
        if not any(str(fault) == other and method in ("", its) for other, its in suffered)
    ]


def write_rows(name: str, rows: list[dict[str, Any]]) -> None:
    """Writes outcomes to a file of `results/kills`."""
    with (RESULTS / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, [each.name for each in fields(Outcome)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def report(work: Path, wholes: dict[str, Whole]) -> None:
    """Writes what is known so far."""
    rows = rows_of(work)
    done = [fault for row in rows for fault in row["faults"].split()]
    write_rows("ray.csv", rows)
    summary = {
        **provenance(f"python experiments/kills/run.py --ray --runs {min(len(rows), FULL_RUNS)}"),
        "runs": len(rows),
        "faults": len(done),
        "faults_by_kind_and_phase": {
            kind: dict(Counter(phase for fault in done for name, _, phase in (fault.partition("@"),) if name == kind))
            for kind in KINDS
        },
        "faults_not_done_yet": [f"{fault} {method}".rstrip() for fault, method in not_suffered(rows)],
        **{
            name: sum(row[name] for row in rows)
            for name in ("lost", "repeated", "over_budget", "wrong", "hung", "unclear")
        },
        "ended_as_undisturbed": sum(row["differs"] == "" for row in rows),
        "not_promised_to": sum(row["differs"] == "not promised" for row in rows),
        "ends": dict(Counter(end for row in rows for end in row["ends"].split(", "))),
        "went_on": dict(Counter(on for row in rows for on in row["went_on"].split(", ") if on)),
        "undisturbed_s": {method: whole.seconds for method, whole in wholes.items()},
    }
    atomic_write(RESULTS / "ray.json", json.dumps(summary, indent=1) + "\n")
