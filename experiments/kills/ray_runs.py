"""Runs on a Ray cluster that suffer two faults each, then go on: see README.md; started by `run.py --ray`."""

from __future__ import annotations

import csv
import json
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import outcome
from cluster import ROOT, Cluster, plain_environment
from faults import DISK_BYTES, PHASES, TRAINING, Fault, Scene, do, every_fault, is_ready, schedule

from nas.budget import Budget
from nas.run import atomic_write, read_run
from nas.run.events import PhaseFinished

sys.path.insert(0, str(ROOT / "experiments"))
from provenance import provenance

HERE = Path(__file__).resolve().parent
RESULTS = ROOT / "results" / "kills"
BUDGET = Budget.parse("5MFLOPs")
SEARCH = shlex.split(
    "--space coatnet-small --budget 5MFLOPs --data digits --train-resolution 16 --trials 8 --finalists 2 "
    "--finalist-epochs 3 --batch-size 64 --threads 1 --device cpu --no-onnx --seed 1 --quiet --workers 2 "
    "--no-early-stopping --job-timeout 20"
)
METHODS = {
    "supernet": shlex.split("--method supernet --strategy single-path --epochs 3"),
    "calibrated": shlex.split("--method calibrated --calibrations 4 --calibration-epochs 1"),
}
PHASE_OF = {"supernet": "supernet", "calibrated": "calibration"}
"""The name of the training phase of a method."""
LIMIT_S = 600.0
"""After which a session counts as hanging."""
MOST_SESSIONS = 8
PROGRAM = "import sys; from nas.cli.main import main_search; sys.exit(main_search())"


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


@dataclass(slots=True, kw_only=True)
class Story:
    """What has happened in a run so far."""

    pending: list[Fault]
    done: list[Fault] = field(default_factory=list)
    missed: list[Fault] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    went_on: list[str] = field(default_factory=list)
    unclear: int = 0


def run_all(work: Path, runs: int, seed: int) -> None:
    """Does the runs that are missing; writes what is known after each."""
    work = work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    library = work / "clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", str(HERE / "clock.c"), "-o", str(library), "-ldl"], check=True)
    cluster = Cluster(work / "home", work / "token")
    (work / "home").mkdir(exist_ok=True)
    try:
        wholes: dict[str, Whole] = {}
        for number, pair in enumerate(schedule(runs, seed)):
            told = work / f"{number:02}.json"
            if not told.exists():
                method = "calibrated" if number % 4 == 3 else "supernet"
                if method not in wholes:
                    wholes[method] = undisturbed(work, method, cluster)
                rng = random.Random(f"{seed}-{number}")
                found = disturbed(work / f"{number:02}", number, list(pair), method, wholes[method], cluster, rng)
                atomic_write(told, json.dumps(asdict(found)))
                print(f"run {number}: {found}", flush=True)
            report(work, wholes)
    finally:
        cluster.stop()


def start(folder: Path, words: list[str]) -> subprocess.Popen[bytes]:
    """nas-search, in a process group of its own, with a clock that can be set back."""
    log = said_by(folder).open("ab")
    work = folder.parent
    environment = plain_environment(work / "home")
    environment |= {"LD_PRELOAD": str(work / "clock.so"), "CLOCK_BACK": str(folder / "clock-back")}
    command = [sys.executable, "-c", PROGRAM, *words]
    return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def said_by(folder: Path) -> Path:
    """What the sessions of a run wrote, beside its disk, which may be full."""
    return folder.with_suffix(".txt")


def first_words(run: Path, method: str, cluster: Cluster) -> list[str]:
    place = ["--import", str(HERE / "faulty.py"), "--ray", cluster.address, "--out", str(run)]
    return [*SEARCH, *METHODS[method], *place]


def undisturbed(work: Path, method: str, cluster: Cluster) -> Whole:
    """The run that others of its method are held against, made once."""
    folder = work / f"whole-{method}"
    told = folder / "seconds.json"
    if not told.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        cluster.start()
        status = start(folder, first_words(folder / "run", method, cluster)).wait()
        assert status == 0, f"exit status {status}: see {said_by(folder)}"
        record = read_run(folder / "run")
        assert outcome.wrong(record) == 0, f"the winners of {folder} do not give the recorded accuracies"
        seconds = {event.phase: event.seconds for event in record.events(PhaseFinished)}
        seconds[TRAINING] = seconds.pop(PHASE_OF[method])
        atomic_write(told, json.dumps(seconds))
    return Whole(path=folder / "run", seconds=json.loads(told.read_text()))


def disturbed(
    folder: Path, number: int, pair: list[Fault], method: str, whole: Whole, cluster: Cluster, rng: random.Random
) -> Outcome:
    """One run: sessions until one ends well, faults on the way."""
    began, story, recorded = time.monotonic(), Story(pending=pair), {}
    small_disk = any(fault.kind == "disk_full" for fault in pair)
    make_room(folder, small=small_disk)
    run = folder / "run"
    broken = False
    while not story.ends or story.ends[-1] != "done":
        if len(story.ends) == MOST_SESSIONS:
            raise RuntimeError(f"{MOST_SESSIONS} sessions do not complete it: see {said_by(folder)}")
        on_cluster = not broken or any(f.needs_cluster for f in story.pending) or rng.random() < 0.5
        if broken:
            cluster.stop()
        if on_cluster:
            cluster.start()
        if story.ends:
            story.went_on.append("cluster" if on_cluster else "0 workers")
            place = ["--ray", cluster.address, "--workers", "2"] if on_cluster else ["--workers", "0"]
            words = ["--resume", str(run), "--quiet", *place]
        else:
            words = first_words(run, method, cluster)
        broken = session(folder, words, story, method, whole, cluster, rng) or not on_cluster
        recorded |= outcome.trials_of(read_run(run))
    if broken:
        cluster.stop()
    record = read_run(run)
    promised = not any(fault.changes_results for fault in story.done)
    found = Outcome(
        run=number,
        method=method,
        faults=" ".join(map(str, story.done)),
        missed=" ".join(map(str, [*story.missed, *story.pending])),
        ends=", ".join(story.ends),
        went_on=", ".join(story.went_on),
        lost=outcome.lost(record, recorded),
        repeated=outcome.repeated(record),
        over_budget=outcome.over_budget(record, BUDGET),
        wrong=outcome.wrong(record),
        hung=story.ends.count("hung"),
        unclear=story.unclear,
        differs=outcome.difference(run, whole.path) if promised else "not promised",
        seconds=round(time.monotonic() - began, 1),
    )
    if small_disk:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    elif found.differs in ("", "not promised") and not found.unclear:
        shutil.rmtree(folder)
    return found


def make_room(folder: Path, *, small: bool) -> None:
    """Makes the run's folder, on a disk of its own that is soon full if it is to be small; that takes root."""
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if small:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)], check=True)


def session(
    folder: Path, words: list[str], story: Story, method: str, whole: Whole, cluster: Cluster, rng: random.Random
) -> bool:
    """Starts nas-search and does what is pending as its phases come; returns whether the cluster is broken."""
    run = folder / "run"
    seen = (run / "events.jsonl").stat().st_size if (run / "events.jsonl").exists() else 0
    said = said_by(folder).stat().st_size if said_by(folder).exists() else 0
    driver = start(folder, words)
    scene = Scene(
        run=run, driver=driver, cluster=cluster, token=folder.parent / "token", clock=folder / "clock-back", since=seen
    )
    end, broken, due = time.monotonic() + LIMIT_S, False, 0.0
    phase, mine = "", len(story.done)
    delay = rng.random()
    while driver.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
        now, seen = latest_phase(run / "events.jsonl", seen, PHASE_OF[method])
        if now and now != phase:
            phase, due = now, time.monotonic()
        if not story.pending or not phase:
            continue
        fault = story.pending[0]
        if PHASES.index(phase) > PHASES.index(fault.phase):
            story.missed.append(story.pending.pop(0))
            continue
        wait = delay * 0.5 * whole.seconds[fault.phase]
        if phase == fault.phase and time.monotonic() >= due + wait and is_ready(fault, scene):
            do(fault, scene, rng)
            story.done.append(story.pending.pop(0))
            broken = broken or fault.breaks_cluster
            delay = rng.random()
    hung = driver.poll() is None
    if hung:
        driver.send_signal(signal.SIGKILL)
    status = driver.wait()
    if scene.token.exists():  # no worker has done it
        scene.token.unlink()
        story.missed.append(story.done.pop())
    scene.filler.unlink(missing_ok=True)
    scene.clock.unlink(missing_ok=True)
    killed = any(fault.ends_driver for fault in story.done[mine:])
    story.ends.append("hung" if hung else "done" if status == 0 else "killed" if killed else f"status {status}")
    with said_by(folder).open("rb") as file:
        file.seek(said)
        last = file.read().decode(errors="replace")
    if "Traceback" in last or (status not in (0, -signal.SIGKILL) and not (status == 2 and last.strip())):
        story.unclear += 1
    return broken


def latest_phase(record: Path, seen: int, training: str) -> tuple[str, int]:
    """The phase that began last in the lines after so many bytes, "" for none, and the bytes of all whole lines."""
    try:
        with record.open("rb") as file:
            file.seek(seen)
            *lines, rest = file.read().split(b"\n")
            seen = file.tell() - len(rest)
    except OSError:
        return "", seen
    phase = ""
    for line in lines:
        if b'"event":"phase_started"' in line[:80]:
            name = json.loads(line)["phase"]
            phase = TRAINING if name == training else name
    return phase, seen


# -- results --------------------------------------------------------------------------------------------------


def report(work: Path, wholes: dict[str, Whole]) -> None:
    """Writes what is known so far."""
    rows: list[dict[str, Any]] = [json.loads(path.read_text()) for path in sorted(work.glob("[0-9][0-9].json"))]
    done = [fault for row in rows for fault in row["faults"].split()]
    with (RESULTS / "ray.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [each.name for each in fields(Outcome)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    summary = {
        **provenance(f"python experiments/kills/run.py --ray --runs {len(rows)}"),
        "runs": len(rows),
        "faults": len(done),
        "faults_by_phase": dict(Counter(fault.partition("@")[2] for fault in done)),
        "faults_not_done_yet": [str(fault) for fault in every_fault() if str(fault) not in done],
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


__all__ = ["run_all"]
