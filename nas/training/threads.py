"""How many CPU threads torch uses, for as long as it matters."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch


@contextmanager
def threads_set(count: int) -> Generator[None, None, None]:
    """`count` CPU threads for torch inside the block: sums on one and on two threads differ in their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
