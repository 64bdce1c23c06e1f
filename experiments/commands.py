"""What experiments do with commands of the program: start them as a user does, plan them, count their CPU time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from nas.run import read_run
from nas.run.events import RunFinished

SEARCH = (sys.executable, "-c", "import sys; from nas.cli.main import main_search; sys.exit(main_search())")
"""`nas-search`, of the checkout that runs the experiment."""
NAS = (sys.executable, "-c", "import sys; from nas.cli.main import main; sys.exit(main())")
"""`nas`, likewise."""


def first_images(path: Path, count: int, work: Path) -> Path:
    """A copy of an .npz with its first training images and all test images."""
    target = work / f"{path.stem}-{count}.npz"
    if not target.exists():
        with np.load(path) as given, tempfile.TemporaryDirectory(dir=work) as folder:
            arrays = {each: given[each][:count] if each.endswith("_train") else given[each] for each in given}
            np.savez(Path(folder) / "part.npz", **arrays)
            (Path(folder) / "part.npz").rename(target)
    return target


def is_finished(run: Path) -> bool:
    return run.exists() and read_run(run).last(RunFinished) is not None


def plan_search(run: Path, command: list[str]) -> None:
    """Begins a search that there is not yet, until its plan is on record, and stops it."""
    if run.exists():
        return
    with run.with_name(f"{run.name}.log").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        while process.poll() is None and not (run / "events.jsonl").exists():
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.wait()
    plan = read_run(run).manifest["plan"]
    print(f"{run.name}: {plan['images_per_second']:.0f} images/s, {plan['seconds']}", flush=True)


def run_counted(command: list[str], counted: Path) -> None:
    """Runs a command to its end or its stop, and adds its CPU seconds to those counted of it so far."""
    with counted.with_suffix(".log").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except KeyboardInterrupt:  # the command has it too, and saves its state
            _, status, usage = os.wait4(process.pid, 0)
    before = float(counted.read_text()) if counted.exists() else 0.0
    counted.write_text(f"{before + usage.ru_utime + usage.ru_stime}")
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
