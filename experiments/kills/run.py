"""Runs that are killed again and again, then resumed: what is lost or done twice, and whether the end is the same.

    python experiments/kills/run.py [--work runs/kills] [--runs 30] [--with-workers 6]
    python experiments/kills/run.py --ray [--work runs/kills-ray] [--runs 40]   # faults on a cluster: `ray_runs.py`
    python experiments/kills/run.py --ray --again 26 26                         # runs of that plan once more

Started again, it goes on with the runs that are missing; `results/kills/` is written after each.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from msgspec import structs
from safetensors.torch import load_file

from nas.budget import Budget
from nas.run import RunRecord, atomic_write, read_run
from nas.run.events import (
    Event,
    FinalistEpoch,
    FinalistTrained,
    PhaseFinished,
    PhaseStarted,
    RankingEvaluated,
    RunFinished,
    SupernetAccuracy,
    SupernetEpoch,
    TrialScored,
    UpdateCounts,
    WinnerExported,
)
from nas.training.checkpoint import newest, read_facts

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parents[1] / "results" / "kills"
BUDGET = Budget.parse("5MFLOPs")
SEARCH = shlex.split(
    "--space coatnet-small --budget 5MFLOPs --data digits --train-resolution 16 --epochs 4 --strategy single-path "
    "--trials 10 --finalists 2 --finalist-epochs 3 --batch-size 64 --threads 1 --device cpu --no-onnx --seed 1 --quiet"
)
WORKERS = ["--workers", "2", "--no-early-stopping"]
# What a kill may cost a training, in place of the 60 s that hold for runs of hours; a trial or an export is one piece.
REDONE_S, WHOLE_REDONE_S = 10.0, 60.0
TRAININGS = ("supernet", "finalists")
MOST_KILLS, INSIDE = 3, 1 / 3
KINDS: tuple[type[Event], ...] = (
    *(SupernetAccuracy, SupernetEpoch, UpdateCounts, TrialScored),
    *(FinalistEpoch, FinalistTrained, RankingEvaluated, WinnerExported),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One kill, and what it cost.

    Attributes:
        inside: The number of the write that it came in; 0 for one at a random moment.
        phase: What was being done: a phase; "loading" before the run, or its being resumed, was on record; "end" after
            all was.
        redone_s: From what was last made safe to the kill.
    """

    inside: int
    after_s: float
    phase: str
    redone_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run that was killed and completed.

    Attributes:
        lost: Trials that were on record at a kill and are not, as they were, at the end.
        repeated: Trials and finalists that are on record twice.
        over_budget: Networks on record that exceed the budget.
        over_redone: Kills that cost more than may be.
        same: Whether all that was recorded, and all weights, equal those of a run that nobody killed.
    """

    run: int
    workers: int
    kills: int
    inside: int
    phases: str
    lost: int
    repeated: int
    over_budget: int
    redone_s: float
    over_redone: int
    same: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A run that nobody killed."""

    path: Path
    seconds: float
    start_s: float
    writes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ray", action="store_true", help="runs on a Ray cluster, with faults of every kind")
    parser.add_argument("--work", type=Path, help="default: runs/kills, or runs/kills-ray")
    parser.add_argument("--runs", type=int, help="default: 30, or 40 on a cluster")
    parser.add_argument("--with-workers", type=int, default=6, help="how many of the runs use --workers 2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--again", type=int, nargs="+", metavar="N", help="with --ray: do runs of the plan again, alone"
    )
    parser.add_argument("--lanes", type=int, default=1, help="runs at a time, on a cluster each")
    asked = parser.parse_args()
    asked.work = asked.work or Path("runs/kills-ray" if asked.ray else "runs/kills")
    asked.runs = asked.runs or (40 if asked.ray else 30)
    if asked.ray:
        from ray_runs import run_again, run_all  # late: it needs a C compiler and mounts disks

        if asked.again:
            run_again(asked.work.absolute(), asked.again, asked.seed)
        else:
            run_all(asked.work.absolute(), asked.runs, asked.seed, asked.lanes)
        return
    asked.work.mkdir(parents=True, exist_ok=True)
    every = [0] * (asked.runs - asked.with_workers) + [2] * asked.with_workers
    random.Random(asked.seed).shuffle(every)
    wholes = {workers: uninterrupted(asked.work, workers) for workers in dict.fromkeys(every)}
    for number, workers in enumerate(every):
        told = asked.work / f"{number:02}.json"
        if not told.exists():
            rng = random.Random(f"{asked.seed}-{number}")
            outcome, kills = killed(asked.work / f"{number:02}", number, workers, wholes[workers], rng)
            atomic_write(told, json.dumps({**asdict(outcome), "each": [asdict(kill) for kill in kills]}))
            print(f"run {number}: {outcome}", flush=True)
        report(asked.work, wholes)


# -- runs -----------------------------------------------------------------------------------------------------


def start(work: Path, words: list[str], fatal: int = 0, share: float = 0.5) -> subprocess.Popen[bytes]:
    """nas-search in a process group of its own."""
    command = [
        sys.executable,
        str(HERE / "dying.py"),
        str(work / "writes"),
        str(REDONE_S),
        str(fatal),
        str(share),
        "--",
    ]
    log = (work / "said.txt").open("ab")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
    return subprocess.Popen([*command, *words], stdout=log, stderr=log, env=environment, start_new_session=True)


def search_words(out: Path, workers: int) -> list[str]:
    return [*SEARCH, *(WORKERS if workers else []), "--out", str(out)]


def uninterrupted(work: Path, workers: int) -> Whole:
    """The run that the others are held against, made once."""
    told, path = work / f"whole-{workers}.json", work / f"whole-{workers}"
    if not told.exists():
        shutil.rmtree(path, ignore_errors=True)
        began = time.time()
        assert start(work, search_words(path, workers)).wait() == 0, f"see {work / 'said.txt'}"
        seconds = time.time() - began
        started = when(read_run(path).events()[0]) - began
        facts = {"seconds": seconds, "start_s": started, "writes": int((work / "writes").read_text())}
        atomic_write(told, json.dumps(facts))
    return Whole(path=path, **json.loads(told.read_text()))


def killed(path: Path, number: int, workers: int, whole: Whole, rng: random.Random) -> tuple[Outcome, list[Kill]]:
    """One run, killed at moments that are uniform over the duration of the uninterrupted one, then completed."""
    shutil.rmtree(path, ignore_errors=True)
    began, kills, recorded = time.monotonic(), [], {}
    moments = sorted(rng.random() for _ in range(rng.randint(2, MOST_KILLS)))
    before = 0.0
    for moment in moments:
        inside = rng.random() < INSIDE
        kill = one_sitting(path, workers, whole, moment - before, rng, inside=inside)
        if kill is None:
            break  # it was done before
        kills.append(kill)
        before = moment
        if (path / "events.jsonl").exists():
            recorded |= {trial.number: replace(trial, seconds=0.0) for trial in read_run(path).trials()}
    assert start(path.parent, words_to_go_on(path, workers)).wait() == 0, f"see {path.parent / 'said.txt'}"
    record = read_run(path)
    trials = {trial.number: replace(trial, seconds=0.0) for trial in record.trials()}
    twice = Counter(trial.architecture.digest for trial in record.trials()) + Counter()
    finalists = Counter(event.digest for event in record.events(FinalistTrained))
    outcome = Outcome(
        run=number,
        workers=workers,
        kills=len(kills),
        inside=sum(kill.inside > 0 for kill in kills),
        phases=" ".join(kill.phase for kill in kills),
        lost=sum(trials.get(n) != trial for n, trial in recorded.items()),
        repeated=sum(count - 1 for count in (*twice.values(), *finalists.values())),
        over_budget=sum(trial.cost.macs > BUDGET.bound for trial in record.trials())
        + sum(event.macs > BUDGET.bound for event in record.events(WinnerExported)),
        redone_s=round(sum(kill.redone_s for kill in kills), 2),
        over_redone=sum(kill.redone_s > allowed(kill.phase) for kill in kills),
        same=same(path, whole.path),
        seconds=round(time.monotonic() - began, 1),
    )
    if outcome.same:
        shutil.rmtree(path)
    return outcome, kills


def words_to_go_on(path: Path, workers: int) -> list[str]:
    """--resume, or the first command again where nothing was recorded yet."""
    if (path / "events.jsonl").exists():
        return ["--resume", str(path), "--quiet"]
    return search_words(path, workers)


def one_sitting(
    path: Path, workers: int, whole: Whole, share: float, rng: random.Random, *, inside: bool
) -> Kill | None:
    """Goes on with a run and kills it after a share of the whole run's time, or in a write of that share of its writes.

    Returns:
        None if the run ended by itself before that.
    """
    fresh = not (path / "events.jsonl").exists()
    fatal = 1 + int(share * whole.writes) if inside else 0
    # A sitting that goes on loads all that the first one did before it works.
    wait = share * whole.seconds if fresh else whole.start_s + share * (whole.seconds - whole.start_s)
    began = time.time()
    process = start(path.parent, words_to_go_on(path, workers), fatal, rng.choice([0.0, 0.3, 0.9, 1.0]))
    try:
        process.wait(None if inside else wait)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    now = time.time()
    status = process.wait()
    if status == 0:
        return None
    assert status == -signal.SIGKILL, f"exit status {status}: see {path.parent / 'said.txt'}"
    phase, redone = at_stake(path, began, now)
    return Kill(inside=fatal, after_s=round(now - began, 2), phase=phase, redone_s=round(redone, 2))


# -- what is held against what --------------------------------------------------------------------------------


def at_stake(path: Path, started: float, now: float) -> tuple[str, float]:
    """The phase that a kill came in, and the time since what that phase does was last made safe.

    Args:
        started, now: When the process that was killed began and ended.
    """
    events = read_run(path).events() if (path / "events.jsonl").exists() else []
    mine = [event for event in events if when(event) > started]
    if not mine:
        return "loading", 0.0
    if isinstance(mine[-1], RunFinished):
        return "end", now - when(mine[-1])
    phase = next((e.phase for e in reversed(mine) if isinstance(e, PhaseStarted | PhaseFinished)), "loading")
    safe = when(mine[-1])
    if phase == "supernet" and not isinstance(mine[-1], PhaseFinished):
        # Steps are safe in checkpoints; what was watched since is on record by itself.
        began = next(when(e) for e in reversed(mine) if isinstance(e, PhaseStarted))
        safe = max(began, written(path / "supernet"))
        watched = [moment for e in mine if isinstance(e, SupernetAccuracy) and (moment := when(e)) > safe]
        safe += max(watched, default=0.0) - min(watched, default=0.0)
    if phase == "finalists":
        safe = max([safe, *(written(folder) for folder in (path / "finalists").glob("*"))])
    return phase, max(0.0, now - safe)


def allowed(phase: str) -> float:
    """Seconds of work that a kill may cost."""
    return REDONE_S if phase in TRAININGS else WHOLE_REDONE_S


def written(folder: Path) -> float:
    """When the last checkpoint in a folder was written."""
    last = newest(folder)
    return 0.0 if last is None else float(read_facts(last)["time"])


def when(event: Event) -> float:
    return event.time.timestamp()


def same(mine: Path, theirs: Path) -> bool:
    """Whether two runs recorded the same, times aside, and have the same weights."""
    first, second = read_run(mine), read_run(theirs)
    if any(comparable(first, kind) != comparable(second, kind) for kind in KINDS):
        return False
    ours, others = ({str(p.relative_to(run)): p for p in run.glob("*/**/*.safetensors")} for run in (mine, theirs))
    if ours.keys() != others.keys():
        return False
    pairs = [(load_file(path), load_file(others[name])) for name, path in ours.items()]
    return all(a.keys() == b.keys() and all(t.equal(b[name]) for name, t in a.items()) for a, b in pairs)


def comparable(record: RunRecord, kind: type[Event]) -> list[Any]:
    """Events of a kind without what depends on the time. Finalists on workers are recorded as they come."""
    if kind is TrialScored:
        return [replace(trial, seconds=0.0) for trial in record.trials()]
    found = [structs.asdict(event) for event in record.events(kind)]
    found = [{name: value for name, value in each.items() if name not in ("time", "seconds")} for each in found]
    return sorted(found, key=json.dumps) if kind in (FinalistEpoch, FinalistTrained) else found


# -- results --------------------------------------------------------------------------------------------------


def report(work: Path, wholes: dict[int, Whole]) -> None:
    """Writes what is known so far."""
    rows = [json.loads(path.read_text()) for path in sorted(work.glob("[0-9][0-9].json"))]
    kills = [kill for row in rows for kill in row["each"]]
    many = sum(row["workers"] > 0 for row in rows)
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / "kills.csv").open("w", newline="") as file:
        names = [field.name for field in fields(Outcome)]
        writer = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    summary = {
        **provenance(f"python experiments/kills/run.py --work runs/kills --runs {len(rows)} --with-workers {many}"),
        "runs": len(rows),
        "runs_with_workers": many,
        "kills": len(kills),
        "kills_inside_a_write": sum(kill["inside"] > 0 for kill in kills),
        "kills_by_phase": dict(Counter(kill["phase"] for kill in kills).most_common()),
        **{name: sum(row[name] for row in rows) for name in ("lost", "repeated", "over_budget", "over_redone")},
        "equal_to_uninterrupted": sum(row["same"] for row in rows),
        "redone_s": {
            phase: {"allowed": allowed(phase), "mean": round(sum(found) / len(found), 2), "most": max(found)}
            for phase in dict.fromkeys(kill["phase"] for kill in kills)
            if (found := [kill["redone_s"] for kill in kills if kill["phase"] == phase])
        },
        "uninterrupted_s": {str(workers): round(whole.seconds, 1) for workers, whole in wholes.items()},
    }
    atomic_write(RESULTS / "summary.json", json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
