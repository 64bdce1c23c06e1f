"""What each process of a sharded training does. It receives all it needs as plain data and does not import Ray."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.errors import NasError
from nas.executors.code_version import refusal
from nas.executors.silence import environment
from nas.executors.worker import LEAST_STEP_S, STEP_S, Watched
from nas.jobs.sharded import ShardedSetup
from nas.networks.imported_ops import ImportedFile, import_files
from nas.progress import Progress
from nas.training.freed_memory import freed_memory_kept
from nas.training.sharded import Shards, joined, open_store
from nas.training.threads import threads_set

LOOPBACK = "127.0.0.1"
_LISTENING_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPlace:
    """One process's place among those that share a training.

    Attributes:
        store: Host and port at which the first process's store is found.
        threads: CPU threads of torch.
        program: What the search's process runs; others of another version are refused.
        step_s: A process is ended when no step is done in so long, but not below `LEAST_STEP_S`.
    """

    shards: int
    rank: int
    ranks: int
    store: tuple[str, int]
    device: str
    threads: int
    program: dict[str, str]
    imports: Sequence[ImportedFile]
    step_s: float | None


@dataclass(slots=True, kw_only=True)
class News:
    """What is new of a training.

    Attributes:
        told: What it told and is not recorded yet.
        begun: The arguments of `Progress.start`, once, when it begins.
        restored, steps: Steps that were done before it began, and since the last news.
        figures: Of the last step.
    """

    told: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    begun: tuple[str, int, str] | None = None
    restored: int = 0
    steps: int = 0
    figures: dict[str, Any] = field(default_factory=dict[str, Any])

    def show(self, progress: Progress) -> None:
        """Passes the steps on."""
        if self.begun is not None:
            progress.start(*self.begun)
        if self.restored:
            progress.advance(self.restored, restored=True)
        if self.steps:
            progress.advance(self.steps, **self.figures)


class Mailbox:
    """What a training tells, until the search's process has recorded it, and how far it is.

    `tell` returns only once it is recorded, so that no checkpoint knows of what the record does not.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._told: list[dict[str, Any]] = []
        self._recorded = 0
        self._news = News()

    def tell(self, told: dict[str, Any]) -> None:
        with self._changed:
            self._told.append(told)
            number = len(self._told)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._recorded >= number)

    def begin(self, phase: str, total: int, unit: str) -> None:
        with self._changed:
            self._news.begun = phase, total, unit

    def advance(self, steps: int, *, restored: bool, figures: dict[str, Any]) -> None:
        with self._changed:
            if restored:
                self._news.restored += steps
            else:
                self._news.steps += steps
            self._news.figures = figures

    def collect(self, recorded: int) -> News:
        """Waits a moment for something told, then returns what is new since the last call.

        Args:
            recorded: How much of what was told is recorded by now.
        """
        with self._changed:
            self._recorded = recorded
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._told) > recorded, timeout=_LISTENING_S)
            found, self._news = self._news, News()
            found.told = self._told[recorded:]
            return found


class _Stepping(Watched):
    """Progress of one process: its watchdog hears of its steps, and so does the search's process."""

    def __init__(self, seconds: float, *, start_s: float, mailbox: Mailbox) -> None:
        super().__init__(seconds, start_s=start_s)
        self._mailbox = mailbox

    def start(self, phase: str, total: int, unit: str) -> None:
        self._mailbox.begin(phase, total, unit)

    def advance(self, n: int = 1, *, restored: bool = False, **figures: str | float | int) -> None:
        super().advance(n, restored=restored, **figures)
        self._mailbox.advance(n, restored=restored, figures=figures)


class ShardWorker:
    """One process of a sharded training."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self._store: Any = None

    def open(self, host: str, ranks: int) -> tuple[str, int]:
        """Opens the store at which all processes find each other, in the first of them; returns where it is."""
        self._store, port = open_store(host, ranks, timeout_s=STEP_S)
        return host, port

    def train(
        self, setup: ShardedSetup, place: ShardPlace, folder: Path, after_save: Callable[[], None] | None
    ) -> str | None:
        """Trains its shards to the end; returns why it cannot be done, if another try does not help.

        Args:
            folder: Has the checkpoints to resume from.
        """
        refused = refusal(place.program)
        if refused is not None:
            return refused
        between_s = STEP_S if place.step_s is None else max(LEAST_STEP_S, place.step_s)
        limit_s = max(STEP_S, between_s)
        store = self._store if self._store is not None else place.store
        with (
            environment(_interface(place.store[0])),
            threads_set(place.threads),
            freed_memory_kept(),
            joined(store, rank=place.rank, ranks=place.ranks, device=place.device, timeout_s=limit_s),
            _Stepping(between_s, start_s=limit_s, mailbox=self.mailbox) as progress,
        ):
            try:
                import_files(place.imports)
                shards = Shards(place.shards, rank=place.rank, ranks=place.ranks)
                setup.training(shards, folder, after_save).run(progress, self.mailbox.tell)
            except NasError as fault:
                return str(fault)
        return None


def _interface(host: str) -> dict[str, str | None]:
    """Returns what keeps gloo to the loopback interface where all processes are on one machine."""
    names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    return {"GLOO_SOCKET_IFNAME": names[0]} if host == LOOPBACK and names else {}
