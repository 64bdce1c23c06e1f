"""A cluster that asks for a token, on loopback, as its own processes: joined with the token, refused without, lost."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import nas

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]
ROOT = Path(nas.__file__).resolve().parents[1]
SEARCH = shlex.split(
    "--space coatnet-small --budget 5MFLOPs --data digits --method params --trials 2 --finalists 1 --workers 1 "
    "--rivals 0 --train-resolution 16 --batch-size 64 --threads 1 --device cpu --no-onnx"
)
WARNING = "Whoever reaches the ports of the cluster"
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


class Head:
    """A head with one CPU that runs in the foreground of a process of ours, and ends with it."""

    def __init__(self, folder: str, token: dict[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        words = (
            f"start --head --block --node-ip-address 127.0.0.1 --port {port} --num-cpus 1 --include-dashboard false "
            f"--dashboard-host 127.0.0.1 --object-store-memory {100 * 2**20} --temp-dir {folder} --disable-usage-stats"
        )
        program = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *words.split()],
            env={**environment(Path(folder)), **token},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 300
        while not self._answers() and time.monotonic() < end:
            time.sleep(0.5)

    def _answers(self) -> bool:
        host, _, port = self.address.partition(":")
        with socket.socket() as tried:
            tried.settimeout(5)
            return tried.connect_ex((host, int(port))) == 0

    def parts(self, name: str = "") -> list[int]:
        """The processes that it started whose command has a word."""
        found: list[int] = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                command = (place / "cmdline").read_text()
            except (OSError, ValueError, IndexError):
                continue
            if parent == self.process.pid and name in command:
                found.append(int(place.name))
        return found

    def stop(self) -> None:
        parts = self.parts()
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for part in parts:
            try:
                os.kill(part, signal.SIGKILL)
            except ProcessLookupError:
                continue


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    # Ray would take a token from the user's home.
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(home)}
    return {**kept, **own, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


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
        assert "Ray: 1 workers on the cluster" in said
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
