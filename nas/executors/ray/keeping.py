"""The actor that keeps checkpoints beside the run's folder, which other nodes may not see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.errors import RunError
from nas.executors.checkpoints import Keeper, Mirror


def start_keeper(folder: Path, home: str) -> Any:
    """Starts it on the node `home`, for the folders in `folder`, which is in the run's.

    Raises:
        RunError: If the processes of this node do not see the run's folder.
    """
    pinned = NodeAffinitySchedulingStrategy(node_id=home, soft=False)
    keeping: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=2)(Keeper)
    keeper = keeping.options(scheduling_strategy=pinned).remote(folder)
    if not ray.get(keeper.sees.remote("events.jsonl")):
        raise RunError(f"Ray's processes on this node do not see {folder.parent}. Choose another --out.")
    return keeper


def mirrored(keeper: Any, name: str, local: Path) -> Mirror:
    """Returns a mirror in `local` of the folder `name` that a keeper has."""
    return Mirror(
        local,
        fetch=lambda: ray.get(keeper.fetch.remote(name)),
        store=lambda file, content: ray.get(keeper.store.remote(name, file, content)),
        keep=lambda files: ray.get(keeper.keep.remote(name, files)),
    )
