"""A Ray cluster of one node on loopback, as its own processes, for tests that reach it from outside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nas

ROOT = Path(nas.__file__).resolve().parents[1]
STARTS = 3


class Head:
    """A head that runs in the foreground of a process of ours, and ends with it.

    Args:
        cpus: What it says that it has.
        dashboard: Whether it takes jobs, at the address `dashboard`.
    """

    def __init__(
        self, folder: str, token: dict[str, str], *, cpus: int = 1, dashboard: bool = False, **variables: str
    ) -> None:
        port, shown = free_port(), free_port()
        self.address, self.dashboard = f"127.0.0.1:{port}", f"127.0.0.1:{shown}"
        words = (
            f"start --head --block --node-ip-address 127.0.0.1 --port {port} --num-cpus {cpus} "
            f"--include-dashboard {str(dashboard).lower()} --dashboard-port {shown} --dashboard-host 127.0.0.1 "
            f"--object-store-memory {100 * 2**20} --temp-dir {folder} --disable-usage-stats"
        )
        program = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
        command = [sys.executable, "-c", program, *words.split()]
        variables = {**environment(Path(folder)), **token, **variables}
        said = Path(folder, "said.txt")
        for _ in range(STARTS):
            with said.open("w") as log:
                self.process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
            if self._starts(said, dashboard=dashboard):
                return
        raise RuntimeError(f"`ray start` did not start a head in {STARTS} tries:\n{said.read_text()}")

    def _starts(self, said: Path, *, dashboard: bool) -> bool:
        """Waits until it runs; False if it gives up, as it does after 30 s, which a busy machine may take."""
        end = time.monotonic() + 300
        while self.process.poll() is None and time.monotonic() < end:
            if "Ray runtime started" in said.read_text() and (not dashboard or _answers(self.dashboard)):
                return True
            time.sleep(0.5)
        self.stop()
        return False

    def answers(self) -> bool:
        return _answers(self.address)

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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _answers(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as tried:
        tried.settimeout(5)
        return tried.connect_ex((host, int(port))) == 0
