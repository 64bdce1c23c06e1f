"""Ctrl-C on the command line: it ends every command, whatever that is doing, and says how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from nas.cli import entry

ROOT = Path(nas.__file__).resolve().parents[1]
# A command that computes for minutes in one call that knows of no signals, as a large matrix product may. It says that
# it works once its main thread computes while another one holds the interpreter's lock: then it is inside that call.
STUCK = """
import hashlib, sys, threading, time, types
from nas.cli import interrupts, main
from nas.run import Run, signals
echo_s, limit_s, out = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
signals.ECHO_S = interrupts.ECHO_S = echo_s
interrupts.LIMIT_S = limit_s

def say_when_stuck(clock):
    spent = 0.0
    while spent < 0.001:
        before = time.clock_gettime(clock)
        sum(range(3_000_000))
        spent = time.clock_gettime(clock) - before
    print("working", flush=True)

def run(args, console):
    from pathlib import Path
    console.run = Path(out)
    if out != "none":
        Run.create(out, {}).close()
    clock = time.pthread_getcpuclockid(threading.get_ident())
    threading.Thread(target=say_when_stuck, args=(clock,), daemon=True).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)

stuck = types.SimpleNamespace(DESCRIPTION="", add_options=lambda parser: None, run=run)
main._command = lambda name: stuck
sys.exit(main.run_command("stuck", [], prog="stuck"))
"""


def start(cwd: Path, echo_s: float, limit_s: float, out: str = "a run") -> subprocess.Popen[str]:
    """The stuck command, once it is stuck."""
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, str(echo_s), str(limit_s), out],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A suite that was itself started in the background hands on that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_cannot_stop_is_ended_when_its_time_is_up(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path, echo_s=0.0, limit_s=0.1) as process:
        process.send_signal(number)
        _, said = process.communicate()
    assert process.returncode == 130
    assert said == "Interrupted. To go on: nas-search --resume 'a run'\n"


def test_a_second_ctrl_c_ends_a_command_at_once(tmp_path: Path) -> None:
    with start(tmp_path, echo_s=0.0, limit_s=1e6) as process:
        process.send_signal(signal.SIGINT)
        # Signals that wait become one; the second counts once the first was heard.
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        _, said = process.communicate()
    assert process.returncode == 130
    assert said == "Interrupted. To go on: nas-search --resume 'a run'\n"


def test_before_anything_is_recorded_the_same_command_is_what_goes_on(tmp_path: Path) -> None:
    with start(tmp_path, echo_s=0.0, limit_s=0.1, out="none") as process:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
    assert process.returncode == 130
    assert said == "Interrupted before anything was recorded. Start it again with the same command.\n"


def test_an_interrupt_during_the_exit_changes_nothing(tmp_path: Path) -> None:
    script = """
import atexit, os, signal, sys, types
from nas.cli import main

def run(args, console):
    atexit.register(lambda: [os.kill(os.getpid(), number) for number in (signal.SIGINT, signal.SIGTERM)])
    raise KeyboardInterrupt

main._command = lambda name: types.SimpleNamespace(DESCRIPTION="", add_options=lambda parser: None, run=run)
sys.argv[1:] = ["stopped"]
sys.exit(main.main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")


def test_an_interrupt_while_the_program_loads_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "import_module", interrupted)
    assert (entry.main(), entry.main_search()) == (130, 130)
    assert capsys.readouterr().err == "Interrupted.\n" * 2


def test_the_installed_commands_are_those_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["nas", "--version"])
    assert entry.main() == 0
    monkeypatch.setattr("sys.argv", ["nas-search", "--help"])
    with pytest.raises(SystemExit) as ended:
        entry.main_search()
    assert ended.value.code == 0
