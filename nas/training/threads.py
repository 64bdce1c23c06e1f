"""How many CPU threads torch uses, for as long as it matters."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock

import torch

from nas.errors import RunError
from nas.training.freed_memory import freed_memory_kept

_busy = Lock()


@contextmanager
def alone_in_process() -> Generator[None, None, None]:
    """The only search or training of this process while the block runs; then torch has as many threads as before.

    Memory that its tensors leave is kept for the next ones until then.

    Raises:
        RunError: If another runs, which draws from the same random generator of torch.
    """
    if not _busy.acquire(blocking=False):
        raise RunError("A search or training runs in this process already: wait for it, or start another process.")
    before = torch.get_num_threads()
    try:
        with freed_memory_kept():
            yield
    finally:
        torch.set_num_threads(before)
        _busy.release()


@contextmanager
def threads_set(count: int) -> Generator[None, None, None]:
    """`count` CPU threads for torch inside the block: sums on one and on two threads differ in their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
