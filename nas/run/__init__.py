"""The run folder: everything about one search, kept so that nothing is lost whenever it is stopped."""

from nas.run.files import atomic_write, default_folder, replacing
from nas.run.folder import Run, RunRecord, read_run
from nas.run.record import FORMAT

__all__ = ["FORMAT", "Run", "RunRecord", "atomic_write", "default_folder", "read_run", "replacing"]
