"""What trainings in other processes say, passed on to the record by the process that writes it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from nas.errors import RunError
from nas.jobs.backend import FinalistRecord
from nas.jobs.training import TrainingWork
from nas.progress import Progress

_ROW = ("epoch", "epochs", "loss", "validation_accuracy", "seconds")


class FinalistRelay:
    """Passes on to `record` what is heard, and asks all trainings to stop once that fails."""

    def __init__(self, record: FinalistRecord, work: TrainingWork, progress: Progress) -> None:
        self._record, self._work, self._progress = record, work, progress
        self._over: set[str] = set()
        self._stopped: set[str] = set()
        self._last: dict[str, dict[str, Any]] = {}
        self._fault: Exception | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune stores all that it is given; nobody reads it, and a record cannot be stored

    @property
    def must_stop(self) -> bool:
        """Whether there is no point in training on."""
        return self._fault is not None

    def row(self, digest: str, row: dict[str, Any]) -> None:
        """What a training reports of itself; see `nas.executors.worker.train_finalist`."""
        self._last[digest] = row
        if row.get("failed"):
            self.given_up(digest, row["failed"])
            return
        if row.get("refused"):
            self._over.add(digest)
            self._fault = self._fault or RunError(row["refused"])
            return
        if row["loss"] is not None:
            self._do(self._record.epoch, digest, {name: row[name] for name in _ROW})
        if row.get("finished"):
            self._over.add(digest)
        self._progress.advance(accuracy=f"{row['validation_accuracy']:.4f}")

    def ended(self, digest: str) -> None:
        """A training is over. If it has not said so itself, it fell behind and was stopped."""
        if digest in self._over or self.must_stop:
            return
        row = self._last[digest]
        self._over.add(digest)
        self._stopped.add(digest)
        self._do(self._record.stopped, digest, row["epoch"], row["validation_accuracy"])

    def lost(self, digest: str, reason: str) -> None:
        """The process of a training is gone; another goes on with it."""
        self._do(self._record.retried, digest, reason)

    def given_up(self, digest: str, reason: str) -> None:
        """A training will not end well."""
        self._over.add(digest)
        self._do(self._record.failed, digest, reason)

    def end(self) -> None:
        """All trainings are over: removes the checkpoints of those that were stopped, which nothing will go on from.

        Raises:
            Exception: What the record raised, if it did.
            RunError: What a training said that cannot go on where it is.
        """
        for digest in self._stopped:
            shutil.rmtree(self._work.folder / digest, ignore_errors=True)
        if self._fault is not None:
            raise self._fault

    def _do(self, tell: Callable[..., None], *what: Any) -> None:
        try:
            tell(*what)
        except Exception as fault:  # whoever calls would wrap it, or only log it
            self._fault = self._fault or fault
