"""Where a search's jobs run: in this process, or wherever a backend of the edge ring takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from nas.architecture import Architecture
from nas.data import Dataset
from nas.jobs.executor import Executor, InProcess, Scorer
from nas.jobs.setup import ScoringSetup
from nas.jobs.sharded import ShardedWork
from nas.networks.network import Network, build
from nas.training import fresh_network

_TOGETHER_S = 20.0


class ScorerSource(Protocol):
    """A scorer that can be made here, or packed and made elsewhere."""

    def make(self) -> Scorer: ...

    def pack(self) -> ScoringSetup: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalistJob:
    """One network to train from scratch, as plain data.

    Attributes:
        architecture: At the resolution that it is trained at.
        digest: Of the architecture that the budget counted; names its folder.
        recipe: `Recipe.to_dict()`.
    """

    number: int
    digest: str
    architecture: dict[str, Any]
    recipe: dict[str, Any]
    metric: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beginnings:
    """What finalists begin with; by default they are trained from scratch, without a teacher.

    Attributes:
        weights: Initial weights by the digest of the architecture that the budget counted.
        teacher: The architecture, at the training resolution, and the weights of a network that all learn from.
    """

    weights: Mapping[str, Mapping[str, torch.Tensor]] = field(default_factory=dict)
    teacher: tuple[Architecture, Mapping[str, torch.Tensor]] | None = None

    def network(self, architecture: Architecture, *, digest: str, seed: int) -> Network:
        """Returns a finalist as its training begins.

        Args:
            architecture: At the training resolution.
            digest: Of the architecture that the budget counted.
        """
        network = fresh_network(architecture, seed=seed)
        if digest in self.weights:
            network.load_state_dict({**self.weights[digest]})
        return network

    def taught_by(self) -> Network | None:
        """Returns the teacher, on the CPU."""
        if self.teacher is None:
            return None
        network = build(self.teacher[0])
        network.load_state_dict({**self.teacher[1]})
        return network


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FinalistWork:
    """What all finalists of a run share.

    Attributes:
        folder: A finalist's checkpoints are in `folder / digest`.
        threads: CPU threads of this machine for all of them together.
        early_stopping: Whether a training that falls behind the others may be stopped.
        beginnings: Weights and teacher that they begin with.
    """

    data: Dataset
    folder: Path
    threads: int
    early_stopping: bool
    beginnings: Beginnings = field(default_factory=Beginnings)


class FinalistRecord(Protocol):
    """Hears of trainings that run elsewhere, in the process that writes the record."""

    def epoch(self, digest: str, row: dict[str, Any]) -> None:
        """An epoch is done: {epoch, epochs, loss, validation_accuracy, seconds}."""
        ...

    def stopped(self, digest: str, epoch: int, validation_accuracy: float) -> None:
        """A training fell behind the others and was stopped after `epoch`."""
        ...

    def failed(self, digest: str, error: str) -> None:
        """A training failed, and will not be tried again."""
        ...

    def retried(self, digest: str, reason: str) -> None:
        """A training lost its process and goes on from its last checkpoint in another."""
        ...


class Backend(Protocol):
    """Where jobs run. Jobs and results are plain data, and no result depends on the place."""

    def prepare(self) -> None:
        """Finds out, before anything else is done, whether workers can be had.

        Raises:
            NasError: If not.
        """
        ...

    def facts(self) -> dict[str, Any]:
        """Plain JSON for the record: the number of workers, and where they are."""
        ...

    def scoring(self, source: ScorerSource, *, threads: int, expected_s: float, data_bytes: int) -> Executor:
        """An executor that scores with the scorer of `source`.

        Args:
            threads: CPU threads of torch per job; the scores' last bits depend on it.
            expected_s: What one job is expected to take.
            data_bytes: Of the images that finalists will train on, for which there has to be room later.
        """
        ...

    def train(self, jobs: Sequence[FinalistJob], work: FinalistWork, record: FinalistRecord) -> None:
        """Trains finalists side by side, up to their last checkpoint in their folders.

        What has no finished checkpoint afterwards, and was neither stopped nor failed, the caller trains.
        """
        ...

    def train_sharded(self, work: ShardedWork) -> None:
        """Trains on several processes, up to the finished checkpoint in the work's folder.

        Where there is none afterwards, the caller trains all shards, with the same result.

        Raises:
            NasError: If it failed, in a way that another try does not help.
        """
        ...

    def close(self) -> None:
        """Ends every process that was started for this search."""
        ...


class InThisProcess:
    """One job after another, here."""

    def prepare(self) -> None:
        """There is nothing to find out."""

    def facts(self) -> dict[str, Any]:
        return {"workers": 0}

    def scoring(self, source: ScorerSource, *, threads: int, expected_s: float, data_bytes: int) -> Executor:
        # What is scored together is recorded together, and a kill may cost no more than a minute.
        together = max(1, min(16, int(_TOGETHER_S / max(expected_s, 1e-3))))
        return InProcess(source.make, threads=threads, together=together)

    def train(self, jobs: Sequence[FinalistJob], work: FinalistWork, record: FinalistRecord) -> None:
        """Leaves them all to the caller."""

    def train_sharded(self, work: ShardedWork) -> None:
        """Leaves it to the caller."""

    def close(self) -> None:
        """There is nothing to end."""
