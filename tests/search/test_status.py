"""The state of a run from its folder alone: who writes it, how far it is, how long it takes, what is best."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nas.errors import RunError
from nas.methods.protocol.report import Steps
from nas.report.status import Status, list_runs, run_status
from nas.run import Run, lock_holder, planning, read_run
from nas.run.events import (
    FinalistEpoch,
    FinalistFailed,
    FinalistStopped,
    FinalistTrained,
    ParentEpoch,
    PhaseFinished,
    PhaseStarted,
    SupernetEpoch,
    now,
)
from nas.run.sessions import record_resumed

from .report_events import make_run

SECONDS = {"supernet": 270.0, "search": 108.0, "finalists": 366.0, "export": 20.0}
PLAN = {"finalist_epochs": 20, "seconds": SECONDS}


def made(path: Path, **given: Any) -> Path:
    return make_run(path, plan=PLAN, **given)


def later(path: Path, seconds: float) -> datetime:
    return read_run(path).events()[-1].time + timedelta(seconds=seconds)


def began(path: Path, phase: str) -> datetime:
    return next(event.time for event in read_run(path).events(PhaseStarted) if event.phase == phase)


def test_a_run_that_a_process_has_open_is_running(tmp_path: Path) -> None:
    made(tmp_path / "a", until="search")
    with Run.open(tmp_path / "a"):
        status = run_status(tmp_path / "a")
        assert status.state == "running"
        assert status.holder is not None
        assert status.holder.process == os.getpid()
        assert status.next == ("see what is there so far", f"nas report {tmp_path / 'a'}")
    status = run_status(tmp_path / "a")
    assert (status.state, status.holder) == ("stopped", None)
    assert status.next == ("continue it", f"nas-search --resume {tmp_path / 'a'}")


def test_a_killed_process_does_not_count_though_its_number_is_in_the_lock(tmp_path: Path) -> None:
    made(tmp_path / "a", until="search")
    code = "import sys; from nas.run import Run; run = Run.open(sys.argv[1]); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "a"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        status = run_status(tmp_path / "a")
        assert status.holder is not None
        assert (status.state, status.holder.process) == ("running", writer.pid)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert str(writer.pid) in (tmp_path / "a" / ".lock").read_text()
    assert run_status(tmp_path / "a").state == "stopped"


def test_asking_does_not_keep_a_run_from_being_opened(tmp_path: Path) -> None:
    made(tmp_path / "a", until="search")
    handle = os.open(tmp_path / "a" / ".lock", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)  # as whoever asks has it, for a moment
    asking = threading.Timer(0.005, os.close, (handle,))
    asking.start()
    Run.open(tmp_path / "a").close()
    asking.join()
    assert lock_holder(tmp_path / "a") is None


def test_a_lock_that_is_a_link_or_a_pipe_is_neither_followed_nor_waited_for(tmp_path: Path) -> None:
    lock = made(tmp_path / "a", until="search") / ".lock"
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(RunError, match=r"\.lock is a pipe"):
        run_status(tmp_path / "a")
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=r"\.lock is a link"):
        run_status(tmp_path / "a")


def test_rate_and_time_left_of_a_search(tmp_path: Path) -> None:
    made(tmp_path / "a", until="search")
    at = began(tmp_path / "a", "search") + timedelta(seconds=20)
    with Run.open(tmp_path / "a"):
        status = run_status(tmp_path / "a", at=at)
    phase = status.phase
    assert phase is not None
    assert (phase.name, phase.number, phase.of) == ("search", 2, 4)
    assert phase.steps is not None
    assert (phase.steps.done, phase.steps.total, phase.steps.unit) == (40, 120, "networks")
    assert phase.seconds == pytest.approx(20)
    assert phase.rate == pytest.approx(41 / 20, abs=0.01)  # the next is due at any moment
    assert phase.seconds_left == pytest.approx(79 * 20 / 41, abs=0.1)
    # The finalists and the exports have not begun: what the plan says.
    assert status.seconds_left == pytest.approx(79 * 20 / 41 + 366 + 20, abs=0.1)
    assert (status.trials, status.failed) == (40, 3)
    # The search takes 200 s and 79 times 200 / 41 s instead of 108: trainings are slower than planned by that ratio.
    with Run.open(tmp_path / "a"):
        slow = run_status(tmp_path / "a", at=began(tmp_path / "a", "search") + timedelta(seconds=200))
    left = 79 * 200 / 41
    assert slow.seconds_left == pytest.approx(left + 366 * (270 + 200 + left) / (270 + 108) + 20, abs=0.5)


def test_time_of_a_stopped_run_does_not_go_on(tmp_path: Path) -> None:
    made(tmp_path / "a", until="search")
    soon, long_after = (run_status(tmp_path / "a", at=later(tmp_path / "a", s)) for s in (1, 10_000))
    assert (soon.seconds, soon.phase, soon.seconds_left) == (
        long_after.seconds,
        long_after.phase,
        long_after.seconds_left,
    )


def test_time_of_earlier_sessions_counts(tmp_path: Path) -> None:
    made(tmp_path / "a", until="search")
    with Run.open(tmp_path / "a") as run:
        record_resumed(run, last_sign=began(tmp_path / "a", "search").timestamp() + 30)
        # Resumed, and still reading data: the search's time is that of the first session.
        assert (between := run_status(run.path, at=later(run.path, 9)).phase) is not None
        assert between.seconds == pytest.approx(30, abs=0.01)
        run.append(PhaseStarted(phase="search"))
        assert (phase := run_status(run.path, at=later(run.path, 10)).phase) is not None
    assert phase.seconds == pytest.approx(40, abs=0.01)
    assert phase.rate == pytest.approx(41 / 40, abs=0.01)


def test_a_supernet_is_as_far_as_its_epochs(tmp_path: Path) -> None:
    made(tmp_path / "a", until="supernet")
    with Run.open(tmp_path / "a") as run:
        phase = run_status(run.path, at=began(run.path, "supernet") + timedelta(seconds=100)).phase
        assert phase is not None
        assert phase.steps is not None
        assert (phase.name, phase.steps.done, phase.steps.total, phase.steps.unit) == ("supernet", 10, 30, "epochs")
        assert phase.seconds_left == pytest.approx(19 * 100 / 11, abs=0.1)
        # Where each block has epochs of its own, their sum is not on record: the plan's seconds tell.
        run.append(SupernetEpoch(epoch=1, block=1))
        phase = run_status(run.path, at=began(run.path, "supernet") + timedelta(seconds=100)).phase
        assert phase is not None
        assert (phase.steps, phase.rate, phase.planned) == (None, None, 270)
        assert phase.seconds_left == pytest.approx(170)
        # After that there is nothing to tell by.
        late = run_status(run.path, at=began(run.path, "supernet") + timedelta(seconds=271))
        assert late.phase is not None
        assert (late.phase.seconds_left, late.seconds_left) == (None, None)


@pytest.mark.parametrize(
    ("seconds", "left"),
    [
        (100, 200),  # ten epochs of ten seconds are done
        (109, 191),  # the eleventh is nearly done, which is not on record
        (121, 209),  # it takes longer than the others did: eleven seconds each
    ],
)
def test_time_left_does_not_grow_while_an_epoch_takes_as_long_as_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int, left: int
) -> None:
    made(tmp_path / "a", until="supernet")
    with Run.open(tmp_path / "a") as run:
        at = began(run.path, "supernet")
        monkeypatch.setattr("nas.run.record.now", lambda: at + timedelta(seconds=100))
        run.append(SupernetEpoch(epoch=10))
        phase = run_status(run.path, at=at + timedelta(seconds=seconds)).phase
    assert phase is not None
    assert phase.seconds_left == pytest.approx(left, abs=0.1)


def test_time_left_of_a_supernet_that_is_measured_every_few_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "a", until="created", plan={**PLAN, "method": {"epochs": 60, "watch_every": 7}})
    with Run.open(tmp_path / "a") as run:
        run.append(PhaseStarted(phase="supernet"))
        at = began(run.path, "supernet")
        monkeypatch.setattr("nas.run.record.now", lambda: at + timedelta(minutes=14))
        run.append(SupernetEpoch(epoch=14))
        left = [
            phase.seconds_left / 60
            for minute in (14, 17, 20, 21, 28)
            if (phase := run_status(run.path, at=at + timedelta(minutes=minute)).phase) and phase.seconds_left
        ]
    # An epoch a minute. In minute 28 the epochs up to 21 are still not told of: each takes longer than was thought.
    assert left == pytest.approx([46, 43, 40, 39, 39 * 28 / 21], abs=0.1)


def test_epochs_that_will_not_be_trained_are_not_left(tmp_path: Path) -> None:
    made(tmp_path / "a", until="finalists")
    with Run.open(tmp_path / "a") as run:
        before = run_status(run.path).phase
        assert before is not None
        assert before.steps is not None
        ended = {event.digest for event in run.events(FinalistTrained)}
        last = {event.digest: event for event in run.events(FinalistEpoch) if event.digest not in ended}
        [going] = last.values()
        run.append(FinalistStopped(digest=going.digest, number=0, epoch=going.epoch, validation_accuracy=0.5))
        run.append(FinalistFailed(digest="f" * 16, number=1, error="The loss became nan."))
        after = run_status(run.path).phase
    assert after is not None
    assert after.steps is not None
    assert after.steps.done == before.steps.done
    assert after.steps.total == (before.steps.total or 0) - (20 - going.epoch) - 20


def test_a_parent_is_a_phase_of_its_own(tmp_path: Path) -> None:
    plan = {**PLAN, "method": {"epochs": 30, "parent_epochs": 10}, "seconds": {"parent": 600, **SECONDS}}
    make_run(tmp_path / "a", until="created", plan=plan, method={"parent": {"config": "p"}})
    with Run.open(tmp_path / "a") as run:
        run.append(PhaseStarted(phase="parent"))
        at = began(run.path, "parent") + timedelta(seconds=650)
        assert (early := run_status(run.path, at=at).phase) is not None
        assert (early.number, early.of, early.steps) == (1, 5, Steps(done=0, total=10, unit="epochs"))
        for epoch in range(1, 6):
            run.append(ParentEpoch(epoch=epoch, epochs=10, loss=1.0, seconds=0.0))
        status = run_status(run.path, at=at)
    assert status.phase is not None
    assert status.phase.steps == Steps(done=5, total=10, unit="epochs")
    assert status.phase.seconds_left == pytest.approx(4 * 650 / 6, abs=1)
    assert status.seconds_left is not None


def test_finalists_are_as_far_as_their_epochs_without_those_of_their_calibration(tmp_path: Path) -> None:
    made(tmp_path / "a", until="finalists")
    with Run.open(tmp_path / "a") as run:
        phase = run_status(run.path).phase
        assert phase is not None
        assert phase.steps is not None
        assert (phase.steps.done, phase.steps.total, phase.steps.unit) == (3 * 20 + 10, 6 * 20, "epochs")
        run.append(FinalistEpoch(digest="0" * 16, epoch=6, epochs=20))
        phase = run_status(run.path).phase
    assert phase is not None
    assert phase.steps is not None
    assert (phase.steps.done, phase.steps.total) == (71, 6 * 20 - 5)


@pytest.mark.parametrize(
    ("until", "figure"),
    [
        ("created", None),
        ("supernet", None),
        ("search", "score"),
        ("finalists", "test accuracy"),
        ("finished", "test accuracy"),
    ],
)
def test_best_is_of_what_is_trained_else_of_what_is_scored(until: str, figure: str | None, tmp_path: Path) -> None:
    made(tmp_path / "a", until=until)
    best = run_status(tmp_path / "a").best
    assert (best and best.figure) == figure
    if best is not None and figure == "score":
        assert best.value == max(trial.score or 0 for trial in read_run(tmp_path / "a").trials())
    elif best is not None:
        assert best.value == 0.951


def test_a_finished_run_takes_no_more_time(tmp_path: Path) -> None:
    made(tmp_path / "a")
    status = run_status(tmp_path / "a", at=later(tmp_path / "a", 500))
    assert (status.state, status.phase, status.seconds, status.seconds_left) == ("finished", None, 1234.5, None)
    assert status.next == ("try the best network", f"python {tmp_path / 'a'}/winners/1/model.py")


def test_between_phases_the_plan_tells_the_time_left(tmp_path: Path) -> None:
    made(tmp_path / "a", until="supernet")
    with Run.open(tmp_path / "a") as run:
        run.append(PhaseFinished(phase="supernet", seconds=540.0))
        status = run_status(run.path)
    assert status.phase is None
    assert status.seconds_left == pytest.approx(2 * (108 + 366) + 20)


def test_a_run_without_planned_seconds_has_no_time_left(tmp_path: Path) -> None:
    make_run(tmp_path / "a", until="search")
    status = run_status(tmp_path / "a")
    assert status.seconds_left is None
    assert status.phase is not None
    assert status.phase.seconds_left is not None


def test_runs_are_listed_with_state_and_size_the_latest_first(tmp_path: Path) -> None:
    made(tmp_path / "old")
    made(tmp_path / "below" / "open", until="search")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "events.jsonl").write_text("{}\nno\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    big = tmp_path / "old" / "big"
    big.write_bytes(b"x" * 300_000)
    os.link(big, tmp_path / "old" / "again")  # the same bytes by another name
    with Run.open(tmp_path / "below" / "open"):
        rows = list_runs(tmp_path)
    assert [(row.run.name, row.state) for row in rows] == [
        ("open", "running"), ("old", "finished"), ("damaged", "damaged"),
    ]  # fmt: skip
    assert rows[2].error is not None
    assert "is not a run" in rows[2].error
    assert 300_000 <= rows[1].bytes < 600_000
    assert isinstance(rows[0].status, Status)
    assert rows[0].status.trials == 40


def test_a_search_that_is_planned_has_a_state_before_its_record(tmp_path: Path) -> None:
    with planning(tmp_path / "a"):
        status = run_status(tmp_path / "a", at=now() + timedelta(seconds=60))
        assert [(row.run, row.state) for row in list_runs(tmp_path)] == [(tmp_path / "a", "planning")]
        with pytest.raises(RunError, match="it is being planned"):
            read_run(tmp_path / "a")
        Run.create(tmp_path / "b", {}).close()
    assert (status.state, status.holder and status.holder.process) == ("planning", os.getpid())
    assert 59 <= status.seconds <= 70
    assert (status.phase, status.best, status.trials) == (None, None, 0)
    assert status.next[1] == f"nas status {tmp_path / 'a'}"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".lock").touch()  # what a killed process leaves
    assert [row.run.name for row in list_runs(tmp_path)] == ["b"]


def test_runs_are_looked_for_two_folders_down(tmp_path: Path) -> None:
    for path in ("a", "b/a", "c/b/a", "d/c/b/a"):
        made(tmp_path / path, until="created")
    assert {str(row.run.relative_to(tmp_path)) for row in list_runs(tmp_path)} == {"a", "b/a", "c/b/a"}
    assert [row.run for row in list_runs(tmp_path / "a")] == [tmp_path / "a"]


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="Give a folder that holds runs"):
        list_runs(tmp_path / "nowhere")
    with pytest.raises(RunError, match="There is no run at"):
        run_status(tmp_path / "nowhere")


def test_a_state_needs_neither_pandas_nor_matplotlib(tmp_path: Path) -> None:
    made(tmp_path / "a", until="search")
    code = """
import sys
from nas.cli.main import main
main(["status", sys.argv[1], "--json"])
main(["runs", sys.argv[1]])
print([name for name in ("torch", "numpy", "ray", "pandas", "matplotlib", "optuna", "rich") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("\n[]\n"), done.stderr
