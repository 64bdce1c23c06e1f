"""Checkpoints of trainings that run where the run's folder is not: kept here, mirrored there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from nas.errors import RunError
from nas.run import atomic_write

_NAME = re.compile(r"[\w-]+\.safetensors")


class Keeper:
    """Reads and writes folders of checkpoints; lives on the machine that the run's folder is on.

    Args:
        folder: Has a folder for each training, by its name, or is itself one's, by the name "".
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sees(self, name: str) -> bool:
        """Whether a file stands beside the folder: whether this is the machine that it is taken for."""
        return (self._folder.parent / name).is_file()

    def fetch(self, training: str) -> dict[str, bytes]:
        """A training's checkpoints."""
        return {path.name: path.read_bytes() for path in self._of(training).glob("*.safetensors")}

    def store(self, training: str, name: str, content: bytes) -> None:
        """Writes one checkpoint."""
        assert _NAME.fullmatch(name), name
        folder = self._of(training)
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / name, content)

    def keep(self, training: str, names: list[str]) -> None:
        """Deletes the checkpoints that are not named."""
        for path in self._of(training).glob("*.safetensors"):
            if path.name not in names:
                path.unlink(missing_ok=True)

    def _of(self, training: str) -> Path:
        assert re.fullmatch(r"[\w-]*", training), training
        return self._folder / training


class Mirror:
    """A folder of one training on another machine.

    Args:
        fetch, store, keep: A keeper's, for this training.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fetch: Callable[[], dict[str, bytes]],
        store: Callable[[str, bytes], None],
        keep: Callable[[list[str]], None],
    ) -> None:
        self.folder, self._store, self._keep = folder, store, keep
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in fetch().items():
            if not _NAME.fullmatch(name):
                raise RunError(f"A checkpoint named {name[:60]!r} is none of ours.")
            atomic_write(folder / name, content)
        self._sent = self._stamps()

    def send(self) -> None:
        """Brings the keeper's folder up to date: first what is new, then away with what is gone."""
        now = self._stamps()
        for name, stamp in now.items():
            if self._sent.get(name) != stamp:
                self._store(name, (self.folder / name).read_bytes())
        self._keep(list(now))
        self._sent = now

    def _stamps(self) -> dict[str, tuple[int, int]]:
        stats = {path.name: path.stat() for path in sorted(self.folder.glob("*.safetensors"))}
        return {name: (stat.st_mtime_ns, stat.st_size) for name, stat in stats.items()}
