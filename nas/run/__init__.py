"""The run directory: everything about one search, on disk, so that a stop at any time loses nothing."""

from nas.run.files import atomic_write, link_or_copy, out_folder, replacing
from nas.run.folder import (
    Run,
    RunRecord,
    data_of,
    exported_folder,
    is_training,
    planning,
    read_run,
    training_inputs,
)
from nas.run.lock import Holder, lock_holder
from nas.run.upgrade import FORMAT

__all__ = [
    "FORMAT",
    "Holder",
    "Run",
    "RunRecord",
    "atomic_write",
    "data_of",
    "exported_folder",
    "is_training",
    "link_or_copy",
    "lock_holder",
    "out_folder",
    "planning",
    "read_run",
    "replacing",
    "training_inputs",
]
