"""A run directory: created once, then opened by one process for writing, and read by any number of others."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast, overload

from nas.errors import RunError
from nas.run import record
from nas.run.events import Event, TrialScored
from nas.run.files import (
    atomic_write,
    check_writable,
    expanded,
    is_leftover,
    is_of_system,
    make_folder,
    sweep,
    write_error,
)
from nas.run.history import History, Kind
from nas.run.lock import FolderLock, lock_holder
from nas.run.opening import check_regular
from nas.strict_yaml import dump_yaml
from nas.trial import Trial

MANIFEST = "run.yaml"


class RunRecord:
    """The recorded events of a run. Its dictionaries are shared: treat them as read-only."""

    def __init__(self, path: Path, first: dict[str, Any], history: History) -> None:
        self.path = path
        self._first = first
        self._history = history
        self._trials: list[Trial] = []

    @property
    def manifest(self) -> dict[str, Any]:
        """The run's manifest, as in `run.yaml`: options, plan, versions, space_digest, budgets."""
        own = ("event", "time", "format")
        return {key: value for key, value in self._first.items() if key not in own}

    @property
    def is_repeatable(self) -> bool:
        """Whether a command repeats the search; none does where its space was only in the memory of Python."""
        is_derived = self.part("options").get("space") is None
        return is_derived or self._first.get("space_source", "") is not None

    def part(self, *names: str) -> dict[str, Any]:
        """Returns the mapping at a path of names inside the manifest; empty where there is none.

        Raises:
            RunError: If the value there is not a mapping.
        """
        part = self._first
        for name in names:
            found: object = part.get(name) or {}
            if not isinstance(found, dict):
                raise RunError(
                    f"{self.path} is damaged: its {name} is {str(found)[:40]!r}. Restore {record.NAME} from a copy."
                )
            part = cast("dict[str, Any]", found)
        return part

    @property
    def data(self) -> str:
        """The `--data` option."""
        return str(self.part("options").get("data", "digits"))

    @overload
    def events(self) -> list[Event]: ...

    @overload
    def events(self, kind: type[Kind]) -> list[Kind]: ...

    def events(self, kind: type[Event] = Event) -> list[Any]:
        """Returns the events so far, in order; only those of `kind` (of `nas.run.events`) if given."""
        return list(self._history if kind is Event else self._history.of(kind))

    def but_trials(self) -> list[Event]:
        """Returns all events but trials, in order, which is quick however many trials there are."""
        return self._history.but_trials()

    def latest(self) -> Event:
        """Returns the latest event."""
        return self._history.last()

    def last(self, kind: type[Kind]) -> Kind | None:
        """Returns the latest event of a kind, None if there is none."""
        found = self._history.of(kind)
        return found[-1] if found else None

    def trials(self) -> list[Trial]:
        """Returns the recorded trials, in order; they are numbered from 0 without a gap.

        Raises:
            RunError: If a recorded trial cannot be read, is recorded twice or is missing.
        """
        for place, event in enumerate(self._history.trials(len(self._trials)), start=len(self._trials)):
            self._trials.append(self._trial(event, place))
        return list(self._trials)

    def each_trial(self) -> Iterator[Trial]:
        """Yields the recorded trials, in order, and keeps none of them in memory; raises as `trials`."""
        for place, event in enumerate(self._history.trials()):
            yield self._trial(event, place)

    def trials_at(self, numbers: Sequence[int]) -> Iterator[tuple[datetime, Trial]]:
        """Yields the trials of some numbers, each with the time when it was recorded; raises as `trials`."""
        for number, event in zip(numbers, self._history.trials_at(numbers), strict=True):
            yield event.time, self._trial(event, number)

    def _trial(self, event: TrialScored, place: int) -> Trial:
        try:
            trial = Trial.from_dict(event.trial)
            _check_place(trial, place)
        except RunError as fault:
            raise RunError(f"{self.path}: {fault} Restore {record.NAME} from a copy.") from None
        return trial


class Run(RunRecord):
    """A run directory open for writing, by at most one process at a time.

    Use it as a context manager, or call `close`.
    """

    def __init__(self, path: Path, lock: FolderLock) -> None:
        self._lock = lock
        self._log = record.EventLog(path / record.NAME)
        super().__init__(path, self._log.first, self._log.history)

    @classmethod
    def create(cls, path: str | Path, manifest: Mapping[str, Any], *, lock: FolderLock | None = None) -> Run:
        """Creates the folder, writes `run.yaml` and records "run_started" with the whole manifest.

        Args:
            manifest: Plain JSON: options, plan, versions, space_digest, budgets. The versions of Python and
                the platform are added to `versions`.
            lock: That of the folder, where it was held already (`planning`); the run releases it.

        Raises:
            RunError: If the folder is not empty, is open elsewhere, or cannot be written.
        """
        folder = Path(path)
        _check_free(folder)
        make_folder(folder)
        lock = lock or FolderLock(folder)
        try:
            # Checked again under the lock: another process may have created the same run since.
            _check_free(folder)
            sweep(folder)
            versions = {"python": platform.python_version(), "platform": platform.platform()}
            own = {key: value for key, value in manifest.items() if key != "format"}
            fields = {**own, "versions": {**versions, **manifest.get("versions", {})}}
            # The record is written first, atomically: a folder with it can be resumed, one without it can be reused.
            atomic_write(folder / record.NAME, record.encode_started(fields))
            run = cls(folder, lock)
            run._write_manifest()
            return run
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Opens a run to continue it; a last line that was only partly written is cut off.

        A record of an earlier format is rewritten in this version's, once and atomically: `events.jsonl` and
        `run.yaml` then have the new names, and `events.jsonl.format-1` is the original record.

        Raises:
            RunError: If it is not a run, holds links, has a later format, is damaged, open elsewhere or cannot be
                written.
        """
        folder = _folder(path)
        lock = FolderLock(folder)
        try:
            check_regular(folder)
            run = cls(folder, lock)
            sweep(folder)
            if run._log.upgraded or not (folder / MANIFEST).exists():
                run._write_manifest()
            return run
        except BaseException:
            lock.release()
            raise

    def append(self, event: Event) -> None:
        """Records an event with the current time; it is on disk when this returns.

        Raises:
            RunError: If it cannot be written, or a number in it is not finite.
        """
        self._log.append(event)

    def check_space(self, digest: str) -> None:
        """Refuses to continue a run with another search space than its own.

        Raises:
            RunError: If the digests differ.
        """
        made_for = self.manifest.get("space_digest")
        if made_for != digest:
            raise RunError(
                f"Run {self.path} was made for the search space {made_for}, not {digest}: "
                "the space has changed since. Restore it, or start a new run with another --out."
            )

    def close(self) -> None:
        """Releases the folder. Does nothing if already closed."""
        self._log.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_manifest(self) -> None:
        head = {"format": self._first["format"], "started": self._first["time"]}
        comment = "# The manifest of this run, for people to read. The program reads events.jsonl instead.\n"
        atomic_write(self.path / MANIFEST, comment + dump_yaml({**head, **self.manifest}))


def read_run(path: str | Path) -> RunRecord:
    """Reads a run without locking or changing it; another process may be writing it.

    Raises:
        RunError: If it is not a run, has a later format or is damaged.
    """
    folder = _folder(path)
    check_regular(folder)
    contents = record.read(folder / record.NAME)
    return RunRecord(folder, contents.first, contents.history)


def is_training(path: str | Path) -> bool:
    """Returns whether a folder is that of a `nas train`, finished or not, and no run."""
    folder = Path(path)
    own = any((folder / name).is_file() for name in ("inputs.json", "training.json"))
    return own and not (folder / record.NAME).exists()


def training_inputs(path: str | Path) -> dict[str, Any]:
    """Returns what a `nas train` kept of its inputs in a folder; empty if there is nothing that can be read."""
    try:
        found: object = json.loads((Path(path) / "inputs.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def exported_folder(path: str | Path) -> Path:
    """Returns the folder that holds an exported network: the one given, or `network` in that of a `nas train`.

    Raises:
        RunError: If neither does.
    """
    folder = Path(expanded(path))
    for place in (folder, folder / "network"):
        if (place / "architecture.yaml").is_file():
            return place
    give = "Give a winner's folder, such as runs/a/winners/1, or one that nas train wrote."
    if not folder.is_dir():
        raise RunError(f"There is no folder {folder}. {give}")
    if (folder / "winners" / "1").is_dir():
        raise RunError(f"{folder} is a run, which may have several winners. Give one: {folder / 'winners' / '1'}.")
    if is_training(folder):
        raise RunError(f"The training in {folder} is not finished. Repeat its nas train command to go on.")
    raise RunError(f"{folder} holds no architecture.yaml. {give}")


def data_of(path: str | Path) -> str:
    """Returns the `--data` option of a run.

    Raises:
        RunError: If it is not a run.
    """
    return read_run(path).data


def _check_place(trial: Trial, place: int) -> None:
    """Checks the number of a recorded trial.

    Raises:
        RunError: If it is not its place in the record.
    """
    if trial.number != place:
        what = "recorded twice" if trial.number < place else f"recorded where trial {place} should be"
        raise RunError(f"Trial {trial.number} is {what}.")


def _folder(path: str | Path) -> Path:
    folder = Path(path)
    try:
        if (folder / record.NAME).is_file():
            return folder
        if not folder.exists():
            url = re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(folder))
            # A path has one slash where a URL has two.
            where = str(folder) if url is None else f"{url[0]}/{str(folder)[url.end() :]}"
            take = (
                "Only nas-search, nas report and nas export take a URL."
                if url
                else "Give a folder that nas-search wrote."
            )
            raise RunError(f"There is no run at {where}. {take}")
        if not folder.is_dir():
            holds_run = (folder.parent / record.NAME).is_file()
            hint = f"Did you mean {folder.parent}?" if holds_run else "Give a folder that nas-search wrote."
            raise RunError(f"{folder} is a file, and a run is a folder. {hint}")
        names = os.listdir(folder)
        inside = sorted(folder.glob(f"*/{record.NAME}"), key=os.path.getmtime)
    except OSError as fault:
        raise RunError(f"Cannot read {folder}: {(fault.strerror or str(fault)).lower()}.") from fault
    if lock_holder(folder) is not None and not is_training(folder):
        raise RunError(f"{folder} holds no run yet: it is being planned. Wait, or see `nas status {folder}`.")
    if all(map(is_leftover, names)) and not all(map(is_of_system, names)):
        raise RunError(
            f"{folder} holds no run yet: it was stopped before anything was recorded. "
            "Start it again with the same command."
        )
    hint = f"Did you mean {inside[-1].parent}?" if inside else "Give a folder that nas-search wrote."
    raise RunError(f"{folder} is not a run: it has no {record.NAME}. {hint}")


@contextmanager
def planning(path: str | Path) -> Generator[FolderLock, None, None]:
    """Holds a folder while a run is planned for it, so that others can see that; gives the lock for `Run.create`.

    Where the block raises before the run is recorded, what was made here is removed again.

    Raises:
        RunError: If `Run.create` would refuse the folder, before any work is done.
    """
    folder = Path(path)
    _check_free(folder)
    check_writable(folder)
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    make_folder(folder)
    lock = FolderLock(folder)
    try:
        yield lock
    except BaseException:
        if (folder / record.NAME).exists():
            lock.release()
        else:
            lock.remove(folder)
            for each in missing:
                with suppress(OSError):  # something else was written there
                    each.rmdir()
        raise


def _check_free(folder: Path) -> None:
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    except NotADirectoryError as fault:
        if not folder.exists():
            raise write_error(folder, fault) from None
        raise RunError(f"{folder} is a file, and a run is a folder. Choose another --out.") from None
    except OSError as fault:
        raise write_error(folder, fault) from fault
    if record.NAME in names:
        raise RunError(f"{folder} already holds a run. Continue it with --resume {folder}, or choose another --out.")
    others = [name for name in names if not is_leftover(name)]
    if others:
        shown = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        raise RunError(f"{folder} already holds other files ({shown}). Choose another --out.")
