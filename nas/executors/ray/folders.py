"""The folders of a run's trainings, from processes of any node."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.errors import RunError
from nas.executors.checkpoints import Keeper, Mirror
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
        self._keeper = _start_keeper(folder, self._home)

    @contextmanager
    def of(self, digest: str) -> Generator[tuple[Path, AfterSave], None, None]:
        """A network's folder, and what is to be called once a checkpoint is written there."""
        if ray.get_runtime_context().get_node_id() == self._home:
            yield self._folder / digest, None
            return
        keeper = self._keeper
        with scratch("training") as local:
            mirror = Mirror(
                local,
                fetch=lambda: ray.get(keeper.fetch.remote(digest)),
                store=lambda name, content: ray.get(keeper.store.remote(digest, name, content)),
                keep=lambda names: ray.get(keeper.keep.remote(digest, names)),
            )
            yield mirror.folder, mirror.send


def _start_keeper(folder: Path, home: str) -> Any:
    """An actor beside the run's folder, which other nodes may not see."""
    pinned = NodeAffinitySchedulingStrategy(node_id=home, soft=False)
    keeping: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=2)(Keeper)
    keeper = keeping.options(scheduling_strategy=pinned).remote(folder)
    if not ray.get(keeper.sees.remote("events.jsonl")):
        raise RunError(f"Ray's processes on this node do not see {folder.parent}. Choose another --out.")
    return keeper
