"""Standard streams that are closed or full: nothing is lost, nothing is written where it does not belong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from nas.cli.main import COMMANDS

ROOT = Path(nas.__file__).resolve().parents[1]
CALL = "import sys; from nas.cli.main import main; sys.exit(main(sys.argv[1:]))"
CLOSED = {"output": ">&-", "error": "2>&-", "all": "<&- >&- 2>&-"}


def run(redirected: str, *words: str, program: str = CALL) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own whose streams the shell closes or redirects."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-c", program, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("closed", CLOSED.values(), ids=CLOSED)
@pytest.mark.parametrize("words", [["zoo", "coatnet_0"], ["spaces", "derive", "coatnet_0"]], ids=" ".join)
def test_a_command_works_without_its_streams(words: list[str], closed: str) -> None:
    found = run(closed, *words)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_answers_and_refuses_without_streams(command: str) -> None:
    for words, status in ((["--help"], 0), (["--nonsense"], 2)):
        assert run(CLOSED["all"], command, *words).returncode == status
    refused = run(CLOSED["output"], command, "--nonsense")
    assert refused.stderr.count("\n") == 1
    assert "Unknown option '--nonsense'" in refused.stderr


def test_a_file_does_not_take_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    program = """
import os, sys
from nas.cli.streams import open_standard_streams
open_standard_streams()
with open(sys.argv[1], "w") as file:
    for number in (1, 2):
        os.write(number, b"talk of a library")
    print("talk"), print("talk", file=sys.stderr)
    file.write("what belongs there")
"""
    assert run(CLOSED["all"], str(tmp_path / "a"), program=program).returncode == 0
    assert (tmp_path / "a").read_text() == "what belongs there"


def test_a_stream_that_is_full_is_an_error_on_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    for words in (["--help"], ["zoo", "coatnet_0"]):
        found = run(">/dev/full", *words)
        assert found.returncode == 2
        assert found.stderr.count("\n") == 1
        assert "No space left on device" in found.stderr
