"""Runs on a Ray cluster that suffer two faults each, then go on: see README.md; started by `run.py --ray`."""

from __future__ import annotations

import json
import random
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import outcome
from cluster import Cluster, plain_environment
from faults import DISK_BYTES, METHODS, PHASES, TRAINING, Fault, Run, Scene, do, is_ready, schedule
from ray_results import FULL_RUNS, Outcome, Whole, not_suffered, report, rows_of, write_rows

from nas.budget import Budget
from nas.run import atomic_write, read_run
from nas.run.events import PhaseFinished

HERE = Path(__file__).resolve().parent
BUDGET = Budget.parse("5MFLOPs")
SEARCH = shlex.split(
    "--space coatnet-small --budget 5MFLOPs --data digits --train-resolution 16 --trials 8 --finalists 2 "
    "--finalist-epochs 3 --batch-size 64 --threads 1 --device cpu --no-onnx --seed 1 --quiet --workers 2 "
    "--no-early-stopping --job-timeout 60"
)
OPTIONS_OF = {
    "supernet": shlex.split("--method supernet --strategy single-path --epochs 3 --shards 1"),
    "sharded": shlex.split("--method supernet --strategy single-path --epochs 3 --shards 2"),
    "calibrated": shlex.split("--method calibrated --calibrations 4 --calibration-epochs 1"),
}
PHASE_OF = {"supernet": "supernet", "sharded": "supernet", "calibrated": "calibration"}
"""The name of the training phase of a method."""
SIDE_BY_SIDE = {"supernet": 1, "sharded": 1, "calibrated": 2}
"""Folders of checkpoints that a method's training writes to at the same time."""
LIMIT_S = 900.0
"""After which a session counts as hanging. A process may take 600 s to the first step of a training."""
MOST_SESSIONS = 8
MOST_RUNS = 60
"""In which what was missed is done again, from `FULL_RUNS` on."""
PROGRAM = "import sys; from nas.cli.main import main_search; sys.exit(main_search())"


@dataclass(slots=True, kw_only=True)
class Story:
    """What has happened in a run so far."""

    pending: list[Fault]
    done: list[Fault] = field(default_factory=list)
    missed: list[Fault] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    went_on: list[str] = field(default_factory=list)
    unclear: int = 0


@dataclass(frozen=True, slots=True)
class Lane:
    """What runs have that are done one after another: a cluster, and the files by which its processes are told things.

    Attributes:
        clock: See `Scene`.
    """

    cluster: Cluster
    token: Path
    clock: Path

    @classmethod
    def of(cls, work: Path, number: int) -> Lane:
        token, clock = work / f"token-{number}", work / f"clock-back-{number}"
        for path in (token, clock):
            path.unlink(missing_ok=True)
        variables = {"KILLS_TOKEN": str(token), **_clock_of(work, clock)}
        return cls(Cluster(work / "home", variables), token, clock)


def run_all(work: Path, runs: int, seed: int, lanes: int) -> None:
    """Does the runs that are missing, so many at a time; writes what is known after each.

    What could not be done, since its phase was over too soon, is done in runs after the others.
    """
    every = prepared(work, lanes)
    planned = schedule(runs, seed)
    try:
        wholes = _undisturbed(work, [*dict.fromkeys(run.method for run in planned)], every)
        first = 0
        while first < len(planned):
            todo = iter(list(enumerate(planned))[first:])
            first, lock = len(planned), threading.Lock()
            with ThreadPoolExecutor(lanes) as pool:
                asked = [pool.submit(_work_off, todo, lock, work, seed, wholes, lane) for lane in every]
                for each in asked:
                    each.result()
            planned += missed(work, planned)
    finally:
        for lane in every:
            lane.cluster.stop()


def run_again(work: Path, numbers: list[int], seed: int) -> None:
    """Does runs of the plan again, one after another, as they were but for the moments of their faults."""
    [lane], planned = prepared(work, 1), schedule(FULL_RUNS, seed)
    rows: list[dict[str, Any]] = []
    try:
        wholes = _undisturbed(work, [*dict.fromkeys(planned[number].method for number in numbers)], [lane])
        for place, number in enumerate(numbers):
            told, rng = work / f"again-{place:02}.json", random.Random(f"{seed}-{number}-{place}")
            _do_once(told, number, planned[number], wholes, lane, rng)
            rows.append(json.loads(told.read_text()))
            write_rows("ray-again.csv", rows)
    finally:
        lane.cluster.stop()


def prepared(work: Path, lanes: int) -> list[Lane]:
    """Makes the folder that runs are in, and lanes."""
    (work / "home").mkdir(parents=True, exist_ok=True)
    library = str(work / "clock.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", str(HERE / "clock.c"), "-o", library, "-ldl"], check=True)
    return [Lane.of(work, number) for number in range(lanes)]


def _work_off(
    todo: Iterator[tuple[int, Run]], lock: threading.Lock, work: Path, seed: int, wholes: dict[str, Whole], lane: Lane
) -> None:
    """Does one run after another of those that nobody has begun."""
    while True:
        with lock:
            number, run = next(todo, (0, None))
        if run is None:
            return
        try:
            _do_once(work / f"{number:02}.json", number, run, wholes, lane, random.Random(f"{seed}-{number}"))
        except Exception:  # the other runs do not depend on it; started again, this one is done again
            traceback.print_exc()
            lane.cluster.stop()
            continue
        with lock:
            report(work, wholes)


def _do_once(told: Path, number: int, run: Run, wholes: dict[str, Whole], lane: Lane, rng: random.Random) -> None:
    """Does a run, in the folder beside the file that then tells what became of it, unless that is there."""
    if told.exists():
        return
    found = disturbed(told.with_suffix(""), number, run, wholes[run.method], lane, rng)
    atomic_write(told, json.dumps(asdict(found)))
    print(f"run {number}: {found}", flush=True)


def missed(work: Path, planned: list[Run]) -> list[Run]:
    """Returns runs for what no run has suffered yet, one fault each."""
    if not FULL_RUNS <= len(planned) < MOST_RUNS:
        return []
    return [Run((fault,), method or METHODS[0]) for fault, method in not_suffered(rows_of(work))]


def _clock_of(work: Path, clock: Path) -> dict[str, str]:
    return {"LD_PRELOAD": str(work / "clock.so"), "CLOCK_BACK": str(clock)}


def start(folder: Path, words: list[str], lane: Lane) -> subprocess.Popen[bytes]:
    """nas-search, in a process group of its own, with a clock that can be set back."""
    log = said_by(folder).open("ab")
    work = folder.parent
    environment = plain_environment(work / "home") | _clock_of(work, lane.clock)
    command = [sys.executable, "-c", PROGRAM, *words]
    return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def said_by(folder: Path) -> Path:
    """What the sessions of a run wrote, beside its disk, which may be full."""
    return folder.with_suffix(".txt")


def first_words(run: Path, method: str, cluster: Cluster) -> list[str]:
    place = ["--import", str(HERE / "faulty.py"), "--ray", cluster.address, "--out", str(run)]
    return [*SEARCH, *OPTIONS_OF[method], *place]


def _undisturbed(work: Path, methods: list[str], lanes: list[Lane]) -> dict[str, Whole]:
    """The runs that others are held against, by method, one in each lane at a time."""
    found: dict[str, Whole] = {}
    with ThreadPoolExecutor(len(lanes)) as pool:
        for first in range(0, len(methods), len(lanes)):
            now = methods[first : first + len(lanes)]
            found |= zip(now, pool.map(partial(undisturbed, work), now, lanes), strict=True)
    return found


def undisturbed(work: Path, method: str, lane: Lane) -> Whole:
    """The run that others of its method are held against, made once."""
    folder = work / f"whole-{method}"
    told = folder / "seconds.json"
    if not told.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        lane.cluster.start()
        status = start(folder, first_words(folder / "run", method, lane.cluster), lane).wait()
        assert status == 0, f"exit status {status}: see {said_by(folder)}"
        record = read_run(folder / "run")
        assert outcome.wrong(record) == 0, f"the winners of {folder} do not give the recorded accuracies"
        seconds = {event.phase: event.seconds for event in record.events(PhaseFinished)}
        seconds[TRAINING] = seconds.pop(PHASE_OF[method])
        atomic_write(told, json.dumps(seconds))
    return Whole(path=folder / "run", seconds=json.loads(told.read_text()))


def disturbed(folder: Path, number: int, asked: Run, whole: Whole, lane: Lane, rng: random.Random) -> Outcome:
    """One run: sessions until one ends well, faults on the way."""
    began, story, recorded = time.monotonic(), Story(pending=list(asked.faults)), {}
    cluster = lane.cluster
    small_disk = any(fault.kind == "disk_full" for fault in asked.faults)
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
            words = first_words(run, asked.method, cluster)
        broken = session(folder, words, story, asked.method, whole, lane, rng) or not on_cluster
        recorded |= outcome.trials_of(read_run(run))
    if broken:
        cluster.stop()
    record = read_run(run)
    differs = outcome.difference(run, whole.path)
    promised = not any(fault.changes_results for fault in story.done)
    found = Outcome(
        run=number,
        method=asked.method,
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
        differs=differs if promised or not differs else "not promised",
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
    folder: Path, words: list[str], story: Story, method: str, whole: Whole, lane: Lane, rng: random.Random
) -> bool:
    """Starts nas-search and does what is pending as its phases come; returns whether the cluster is broken."""
    run = folder / "run"
    # Half of a line is taken away by the search.
    seen = (run / "events.jsonl").read_bytes().rfind(b"\n") + 1 if (run / "events.jsonl").exists() else 0
    said = said_by(folder).stat().st_size if said_by(folder).exists() else 0
    driver = start(folder, words, lane)
    scene = Scene(
        run=run,
        driver=driver,
        cluster=lane.cluster,
        token=lane.token,
        clock=lane.clock,
        since=seen,
        trainings=SIDE_BY_SIDE[method],
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
        wait = delay / 3 * whole.seconds[fault.phase]
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


__all__ = ["run_all"]
