"""What the tests of bad input share: a command is refused in one line, with exit status 2, and changes nothing."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import nas
from nas.cli.main import main

ROOT = Path(nas.__file__).resolve().parents[1]
_DROP_FROM_BOUNDS, _OVERRIDE, _SEARCH = 24, 1, 2  # prctl(2), capabilities(7)


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file, folder and link in a folder with mode, size and time of change; locks are no one's work."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            seen = os.lstat(os.path.join(parent, name))
            changed = 0 if name in folders else seen.st_mtime_ns  # a lock that is made touches its folder
            if name != ".lock":
                found[os.path.relpath(os.path.join(parent, name), folder)] = (seen.st_mode, seen.st_size, changed)
    return found


def complaint(words: Sequence[str], home: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that `nas` with these words, run in `home`, is refused with."""
    before = snapshot(home)
    capsys.readouterr()
    status = main(words)
    out, err = capsys.readouterr()
    check(status, out, err)
    assert snapshot(home) == before
    return err


def check(status: int, out: str, err: str) -> None:
    """One line that a terminal takes as text, on standard error alone."""
    assert status == 2, err
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.rstrip("\n").isprintable(), err
    assert "Traceback" not in err
    assert 20 < len(err) < 700, err


def told(line: str, *fragments: str) -> None:
    for fragment in fragments:
        assert fragment in line, (fragment, line)


def run(
    words: Sequence[str | bytes], home: Path, *, mortal: bool = False, largest_file: int | None = None
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own.

    Args:
        mortal: File permissions hold for the super-user too.
        largest_file: No file can be written beyond so many bytes, as on a disk that is full.
    """

    def prepare() -> None:
        if mortal and os.geteuid() == 0:
            _give_up_override()
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    code = "import sys; from nas.cli.main import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        preexec_fn=prepare,
    )


def can_be_mortal() -> bool:
    """Whether permissions can be tested: by an ordinary user, or one that can lay its powers down."""
    if os.geteuid() != 0:
        return True
    try:
        tried = subprocess.run([sys.executable, "-c", ""], check=False, preexec_fn=_give_up_override)
    except subprocess.SubprocessError:
        return False
    return tried.returncode == 0


def _give_up_override() -> None:
    system = ctypes.CDLL(None)
    for capability in (_OVERRIDE, _SEARCH):
        if system.prctl(_DROP_FROM_BOUNDS, capability, 0, 0, 0) != 0:
            raise OSError("this process may not lay its powers down")
