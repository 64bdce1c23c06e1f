"""One training that several processes share: what each of them needs, as plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nas.data.sharing import Arrays
from nas.progress import Progress
from nas.registry import loaded
from nas.training.sharded import Shards

Tell = Callable[[dict[str, Any]], None]
"""Takes plain JSON from a training to whoever records it."""


class ShardedTraining(Protocol):
    """A training as one of its processes has it."""

    def run(self, progress: Progress, tell: Tell) -> None:
        """Trains to the end, from the last checkpoint on. The first process alone tells and saves."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShardedSetup:
    """What a process needs to take part in a training.

    Attributes:
        make: "module:function" of what makes it, given this, the `Shards`, a folder and what to call after a save.
        facts: Plain data, small.
        arrays: Weights and images, large: processes of one machine share one copy of them, and must not write to it.
    """

    make: str
    facts: dict[str, Any]
    arrays: Arrays

    def training(self, shards: Shards, folder: Path, after_save: Callable[[], None] | None) -> ShardedTraining:
        """Makes one process's part of the training.

        Args:
            folder: Has the checkpoints to resume from.
        """
        return loaded(self.make)(self, shards, folder, after_save)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShardedWork:
    """A training to be shared, and what becomes of it.

    Attributes:
        phase: Its name in messages.
        pack: Returns what each process needs; called once processes are to be had.
        shards: Of each batch; no more processes than that take part.
        threads: CPU threads of torch of each process; the last bits depend on it.
        device: That it trains on.
        folder: In the run's folder, for checkpoints.
        tell: Receives what the first process tells, in this process, before a checkpoint knows of it.
        progress: Receives its steps.
    """

    phase: str
    pack: Callable[[], ShardedSetup]
    shards: int
    threads: int
    device: str
    folder: Path
    tell: Tell
    progress: Progress
