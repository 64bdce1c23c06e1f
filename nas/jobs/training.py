"""Trainings as jobs: one network each, from its last checkpoint up to some epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from nas.architecture import Architecture
from nas.data import Dataset
from nas.errors import TrainingError
from nas.jobs.executor import Job, Result, is_lack_of_memory, lack_of_memory
from nas.networks.network import Network, build
from nas.progress import Progress
from nas.training import Recipe, fresh_network, train_network
from nas.training.checkpoint import newest, read_facts


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob(Job):
    """One network to train, as plain data. The architecture is at the resolution that it is trained at.

    Attributes:
        seed: That of the recipe.
        digest: Of the architecture that the budget counted; names its folder.
        recipe: `Recipe.to_dict()`.
        metric: What is measured on search-validation.
        until: The epoch to stop after, for now; None is the recipe's last.
        phase: What a display calls the training.
    """

    digest: str
    recipe: dict[str, Any]
    metric: str
    until: int | None = None
    phase: str = "training"

    @classmethod
    def of(
        cls,
        architecture: Architecture,
        recipe: Recipe,
        *,
        resolution: int,
        metric: str,
        until: int | None = None,
        phase: str = "training",
    ) -> TrainingJob:
        """Returns the job of a network.

        Args:
            architecture: As the budget counted it.
            resolution: That it is trained at.
        """
        return cls(
            architecture=architecture.at_resolution(resolution).to_dict(),
            seed=recipe.seed,
            digest=architecture.digest,
            recipe=recipe.to_dict(),
            metric=metric,
            until=until,
            phase=phase,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beginnings:
    """What trainings begin with; by default networks are trained from scratch, without a teacher.

    Attributes:
        weights: Initial weights by the digest of the architecture that the budget counted.
        teacher: The architecture, at the training resolution, and the weights of a network that all learn from.
    """

    weights: Mapping[str, Mapping[str, torch.Tensor]] = field(default_factory=dict)
    teacher: tuple[Architecture, Mapping[str, torch.Tensor]] | None = None

    def network(self, architecture: Architecture, *, digest: str, seed: int) -> Network:
        """Returns a network as its training begins.

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
class TrainingWork:
    """What trainings of a run share.

    Attributes:
        folder: A network's checkpoints are in `folder / digest`.
        threads: CPU threads of training in one process.
        early_stopping: Whether a finalist's training that falls behind the others may be stopped.
        beginnings: Weights and teacher that they begin with.
    """

    data: Dataset
    folder: Path
    threads: int
    early_stopping: bool = False
    beginnings: Beginnings = field(default_factory=Beginnings)


class TrainingTask:
    """A `Task` that trains networks in this process, beside their folders."""

    def __init__(self, work: TrainingWork, progress: Progress) -> None:
        self._work, self._progress = work, progress

    def run(self, job: Job) -> Result:
        """The metric on search-validation after the job's last epoch, as for `train_until`.

        A network for which memory does not suffice has failed, as it has on workers: others may be smaller.
        """
        assert isinstance(job, TrainingJob)
        began = time.monotonic()
        try:
            return train_until(job, self._work, folder=self._work.folder / job.digest, progress=self._progress)
        except (MemoryError, RuntimeError) as fault:
            if not is_lack_of_memory(fault):
                raise
            return Result(status="failed", value=None, seconds=time.monotonic() - began, error=lack_of_memory(fault))


def train_until(
    job: TrainingJob,
    work: TrainingWork,
    *,
    folder: Path,
    progress: Progress,
    after_save: Callable[[], None] | None = None,
) -> Result:
    """Trains a network from its last checkpoint in `folder` up to `job.until`, where it leaves one to go on from.

    Returns:
        The metric on search-validation, with the seconds of all tries; a failed result if the training diverges.

    Raises:
        RunError: If a checkpoint belongs to another training, or cannot be written.
    """
    earlier, began = _seconds_so_far(folder), time.monotonic()
    network = work.beginnings.network(Architecture.from_dict(job.architecture), digest=job.digest, seed=job.seed)
    try:
        reached = train_network(
            network,
            work.data,
            Recipe.from_dict(job.recipe),
            progress=progress,
            phase=job.phase,
            folder=folder,
            metric=job.metric,
            until=job.until,
            after_save=after_save,
            teacher=work.beginnings.taught_by(),
        )
    except TrainingError as fault:
        return Result(status="failed", value=None, seconds=earlier + time.monotonic() - began, error=str(fault))
    return Result(status="complete", value=reached, seconds=earlier + time.monotonic() - began)


def _seconds_so_far(folder: Path) -> float:
    """Returns the seconds of earlier tries, from the last checkpoint of a training."""
    path = newest(folder)
    return 0.0 if path is None else float(cast("Any", read_facts(path).get("seconds", 0.0)))
