"""Exports as jobs: one trained network each, into its folder, or on a worker that sends the files back."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.architecture import Architecture
from nas.data.sharing import Arrays, to_array, to_tensor
from nas.errors import ExportError
from nas.export.exported_model import CardFacts
from nas.export.folder import CARD, PREPROCESSING, appearing
from nas.export.winner import every_file, export_winner
from nas.jobs.executor import Job, Result
from nas.networks.network import Network, build
from nas.run.files import atomic_write


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExportJob(Job):
    """One network to export. The architecture is at the resolution that the budget counts.

    Attributes:
        name: Of its folder among the winners.
        weights: Its state.
        card: What the card says beside what is counted.
    """

    name: str
    weights: Arrays
    card: CardFacts

    @classmethod
    def of(cls, network: Network, architecture: Architecture, card: CardFacts, *, name: str, seed: int) -> ExportJob:
        """Returns the job of a trained network, wherever its weights are."""
        weights = {key: to_array(value) for key, value in network.state_dict().items()}
        return cls(architecture=architecture.to_dict(), seed=seed, name=name, weights=weights, card=card)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exported:
    """What came of an export.

    Attributes:
        checks: As `export_winner` returns them.
        files: Their content by name, where they are still to be written; None where they are in place.
    """

    checks: dict[str, Any]
    files: dict[str, bytes] | None = None

    def packed(self, folder: Path) -> Exported:
        """Returns the same with the files that were written into `folder`."""
        return replace(self, files={name: (folder / name).read_bytes() for name in self.checks["files"]})

    def appear_in(self, folder: Path) -> None:
        """Writes the files that are still to be written into `folder`, which appears as a whole.

        Raises:
            ExportError: If a file is none that an export writes; and, as `RunError`, as `nas.export.folder.appearing`.
        """
        if self.files is None:
            return
        foreign = sorted(self.files.keys() - {*every_file(), PREPROCESSING, CARD})
        if foreign:
            raise ExportError(f"A worker sent a file named {foreign[0][:60]!r}, which is none of an export's.")
        with appearing(folder, every_file()) as temporary:
            for name, content in self.files.items():
                atomic_write(temporary / name, content)


class ExportTask:
    """A `Task` that exports networks.

    Args:
        facts: `trained_resolution`, `mean`, `std`, `class_names`, `levels` and `onnx`, as for `export_winner`.
        winners: Where to, a folder for each.
    """

    def __init__(self, facts: dict[str, Any], winners: Path) -> None:
        self._facts, self._winners = facts, winners

    def run(self, job: Job) -> Result:
        """The network's `Exported`, its files in place.

        Raises:
            ExportError: If it cannot be exported or a format disagrees.
            RunError: If the disk refuses.
        """
        assert isinstance(job, ExportJob)
        began = time.monotonic()
        architecture = Architecture.from_dict(job.architecture)
        network = build(architecture.at_resolution(self._facts["trained_resolution"]))
        network.load_state_dict({key: to_tensor(value) for key, value in job.weights.items()})
        checks = export_winner(self._winners / job.name, network, architecture, card=job.card, **self._facts)
        return Result(status="complete", value=Exported(checks=checks), seconds=time.monotonic() - began)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exporting:
    """The source of an `ExportTask`; see there."""

    facts: dict[str, Any]
    winners: Path

    def make(self) -> ExportTask:
        """Makes the task in this process."""
        return ExportTask(self.facts, self.winners)
