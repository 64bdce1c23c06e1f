"""The folders of a run's trainings, from processes of any node."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import ray

from nas.executors.ray.keeping import mirrored, start_keeper
from nas.executors.temp_folders import scratch
from nas.executors.worker import AfterSave


class TrainingFolders:
    """Lends folders of checkpoints: those beside the run's folder, or mirrors of them on other nodes.

    It is made on the run's node, and may be sent anywhere.

    Args:
        folder: Absolute; has a folder for each network, named by its digest.

    Raises:
        RunError: If the processes of this node do not see the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._home = folder, ray.get_runtime_context().get_node_id()
        self._keeper = start_keeper(folder, self._home)

    @contextmanager
    def of(self, digest: str) -> Generator[tuple[Path, AfterSave], None, None]:
        """A network's folder, and what is to be called once a checkpoint is written there."""
        if ray.get_runtime_context().get_node_id() == self._home:
            yield self._folder / digest, None
            return
        with scratch("training") as local:
            mirror = mirrored(self._keeper, digest, local)
            yield mirror.folder, mirror.send
