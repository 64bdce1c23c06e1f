"""Runs at an fsspec URL, such as s3://bucket/run, where nothing can be appended to or renamed.

A search works in a folder of this machine, in the user's cache, and what is new there is uploaded every 20 seconds:

- `store.py`: whole objects at a URL; faults of a storage as one line.
- `lock.py`: an object that says who writes a run.
- `index.py`: the object that names all others, written last: whoever reads it finds a run as it was at one moment.
- `snapshot.py`: the local folder as it was at one moment, without stopping the search.
- `mirror.py`: uploads.
- `working.py`: the local folder, and what is newer, it or the storage.
"""

from nas.run.files import is_url
from nas.run.remote.working import local_copy, resumed_folder, run_folder

__all__ = ["is_url", "local_copy", "resumed_folder", "run_folder"]
