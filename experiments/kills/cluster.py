"""A Ray cluster of two nodes on the loopback interface, started by `ray start` as people do, and its processes.

A process is known to be of a node by an environment variable that it inherited, or by its parent: so only what was
started here is ever stopped or killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD, SECOND = "head", "second"
_MARK = "KILLS_NODE"
_KEPT_LOCAL = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_RAY = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
# `ray start` refuses a second node where it keeps to loopback, and takes the network's address where it does not.
_LOOPBACK = "import ray._private.services as services; services.get_node_ip_address = lambda *_: '127.0.0.1'; "
_START_S, _TRIES = 300, 3


class Cluster:
    """Two nodes with one CPU each; the address stays the same when it is started again.

    Args:
        home: What its processes see as the user's home.
        variables: Further ones of its processes' environment.
    """

    def __init__(self, home: Path, variables: dict[str, str]) -> None:
        self._home, self._variables = home, variables
        self._place: Path | None = None
        self._titled: set[int] = set()
        self._name = f"{os.getpid()}-{time.monotonic_ns()}"
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.address = f"127.0.0.1:{server.getsockname()[1]}"

    @property
    def running(self) -> bool:
        return self._place is not None

    def start(self) -> None:
        """Starts both nodes, unless they run; tries again where a busy machine does not let them start in time."""
        if self._place is not None:
            return
        for left in reversed(range(_TRIES)):
            # The names of Ray's sockets may have 107 characters.
            self._place = Path(tempfile.mkdtemp(prefix="k"))
            try:
                self._node(HEAD, ["--head", "--port", self.address.rpartition(":")[2], "--include-dashboard", "false"])
                self._node(SECOND, ["--address", self.address])
                return
            except RuntimeError:
                if not left:
                    raise

    def _node(self, node: str, words: list[str]) -> None:
        assert self._place is not None
        folder = self._place / node[0]
        own = ["--node-ip-address", "127.0.0.1", "--num-cpus", "1", "--object-store-memory", str(100 * 2**20)]
        command = [sys.executable, "-c", _RAY, "start", *words, *own, "--disable-usage-stats"]
        environment = {**plain_environment(self._home), **self._variables, _MARK: f"{self._name}-{node}"}
        if node == HEAD:
            command += ["--temp-dir", str(folder)]
        else:
            command[2] = _LOOPBACK + _RAY
            del environment[_KEPT_LOCAL]
        ran = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_START_S, text=True
        )
        if ran.returncode:
            self.stop()
            raise RuntimeError(f"`ray start` of the {node} node failed:\n{ran.stdout}")

    def processes(self, name: str, node: str = "") -> list[int]:
        """The processes of a node, or of both, whose program's path ends with a name."""
        return [pid for pid, command in self._marked(node) if command.split("\0")[0].endswith(f"/{name}")]

    def workers(self) -> list[int]:
        """The processes that score or train: children of the raylets that gave themselves a title."""
        raylets = set(self.processes("raylet"))
        found: list[int] = []
        for pid, command in _commands():
            if command.startswith("ray::") and _parent(pid) in raylets:
                self._titled.add(pid)
                if not any(other in command for other in ("IDLE", "Keeper", "Agent")):
                    found.append(pid)
        return found

    def stop(self) -> None:
        """Kills every process of both nodes and removes their files."""
        self.workers()
        end = time.monotonic() + 30
        while time.monotonic() < end:
            marked = {pid for pid, _ in self._marked("")}
            titled = {pid for pid, command in _commands() if pid in self._titled and command.startswith("ray::")}
            if not marked | titled:
                break
            for pid in marked | titled:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)
        self._titled.clear()
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)
            self._place = None

    def _marked(self, node: str) -> list[tuple[int, str]]:
        """Numbers and commands of the processes with our mark; one with a title of its own has overwritten it."""
        mark = f"{_MARK}={self._name}-{node}".encode()
        return [(pid, command) for pid, command in _commands() if mark in _read(pid, "environ")]


def _commands() -> list[tuple[int, str]]:
    """All processes, each with its command line."""
    numbers = [int(place.name) for place in Path("/proc").glob("[0-9]*")]
    return [(number, _read(number, "cmdline").decode(errors="replace")) for number in numbers]


def _parent(pid: int) -> int:
    words = _read(pid, "stat").rpartition(b")")[2].split()
    return int(words[1]) if len(words) > 1 else 0


def _read(pid: int, name: str) -> bytes:
    """A file of a process, empty once that has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def plain_environment(home: Path) -> dict[str, str]:
    """The environment without Ray's variables; Ray would take a token from the user's home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(home), "RAY_AUTH_MODE": "disabled"}
    # Ray would have workers give way to everything else, by 15 levels: on a busy machine they would hardly start.
    return {**kept, **own, _KEPT_LOCAL: "0", "RAY_worker_niceness": "0"}
