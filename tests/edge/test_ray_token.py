"""A cluster that asks for a token, on loopback, as its own processes: joined with the token, refused without, lost."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.edge.ray_head import Head, environment

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]
SEARCH = shlex.split(
    "--space coatnet-small --budget 5MFLOPs --data digits --method params --trials 2 --finalists 1 --workers 1 "
    "--rivals 0 --train-resolution 16 --batch-size 64 --threads 1 --device cpu --no-onnx"
)
WARNING = "Whoever reaches the ports of the cluster"
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@pytest.fixture
def place() -> Iterator[str]:
    # The names of Ray's sockets may have 107 characters.
    with TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield folder


def search(cwd: Path, *words: str, token: dict[str, str]) -> subprocess.Popen[str]:
    program = "import sys; from nas.cli.main import main_search; sys.exit(main_search())"
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        cwd=cwd,
        env={**environment(cwd), **token},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_search_works_with_a_token_is_refused_without_and_ends_when_the_head_does(tmp_path: Path, place: str) -> None:
    head = Head(place, TOKEN)
    try:
        done = search(tmp_path, *SEARCH, "--finalist-epochs", "1", "--out", "a", "--ray", head.address, token=TOKEN)
        _, said = done.communicate()
        assert done.returncode == 0, said
        assert "Ray: 1 worker on the cluster" in said
        assert WARNING not in said

        stranger = search(tmp_path, *SEARCH, "--out", "b", "--ray", head.address, token={"RAY_AUTH_MODE": "disabled"})
        _, said = stranger.communicate()
        assert stranger.returncode == 2, said
        assert "RAY_AUTH_MODE=token if the cluster wants a token" in said.splitlines()[-1]
        assert "Traceback" not in said

        words = [*SEARCH, "--finalist-epochs", "2000", "--out", "c", "--ray", head.address]
        lost = search(tmp_path, *words, token=TOKEN)
        record = tmp_path / "c" / "events.jsonl"
        while lost.poll() is None and not (record.is_file() and '"event":"finalist_epoch"' in record.read_text()):
            time.sleep(0.2)
        [server] = head.parts("gcs_server")
        os.kill(server, signal.SIGKILL)
        _, said = lost.communicate()
        assert lost.returncode == 2, said
        assert said.splitlines()[-1].endswith("To go on without it: nas-search --resume c --workers 0")
        assert "GCS" not in said
    finally:
        head.stop()


def test_a_cluster_without_a_token_is_joined_with_a_warning(tmp_path: Path, place: str) -> None:
    head = Head(place, {"RAY_AUTH_MODE": "disabled"})
    try:
        words = [*SEARCH, "--finalist-epochs", "1", "--out", "a", "--ray", head.address]
        done = search(tmp_path, *words, token={"RAY_AUTH_MODE": "disabled"})
        _, said = done.communicate()
        assert done.returncode == 0, said
        assert f"{WARNING} at {head.address} can run programs on it: start Ray with RAY_AUTH_MODE=token" in said
    finally:
        head.stop()
